"""Tables on a terminal, without breaking words that fit a line."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from t2ikit.utils.console import make_console

GAP = "  "


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under a header.

    Where the columns have no room beside each other, the last stands below its row, or all but the first do.
    """
    console = make_console(stderr=False)
    for beside in (len(columns), len(columns) - 1, 1):
        widths = column_widths([row[:beside] for row in (columns, *rows)], console.width)
        if widths:
            break
    else:
        beside, widths = 1, [console.width]
    for line in _beside(console, columns[:beside], widths):
        console.print(Text(line, style="bold"), soft_wrap=True)
    for row in rows:
        below = [_below(console, *pair) for pair in zip(columns[beside:], row[beside:]) if pair[1]]
        print(*_beside(console, row[:beside], widths), *below, sep="\n")


def column_widths(rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """How wide each column is, so that no word is broken; nothing where there is no room for that.

    Every column gets what its longest word takes. Of the rest, those that lack little get all they want, and
    the others as much as they lack beside each other.
    """
    columns = list(zip(*rows))
    widths = [max(cell_len(word) for cell in column for word in ("", *cell.split())) for column in columns]
    lack = [max(map(cell_len, column)) - width for column, width in zip(columns, widths)]
    rest = width - sum(widths) - len(GAP) * (len(widths) - 1)
    if rest < 0:
        return []
    order = sorted(range(len(widths)), key=lambda at: lack[at])
    for done, at in enumerate(order):
        others = order[done:]
        all_of_it = lack[at] <= rest // len(others)
        more = lack[at] if all_of_it else rest * lack[at] // sum(lack[other] for other in others)
        widths[at] += more
        rest -= more
    return widths


def _beside(console: Console, row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """A row's lines: its cells wrapped, beside each other."""
    cells = [_wrapped(console, cell, width) for cell, width in zip(row, widths)]
    return [
        GAP.join(set_cell_size(part or "", width) for part, width in zip(parts, widths)).rstrip()
        for parts in zip_longest(*cells)
    ]


def _below(console: Console, name: str, cell: str) -> str:
    """A cell that stands below its row, with its column's name."""
    first, *others = _wrapped(console, f"{name}: {cell}" if name else cell, console.width - 4)
    return "\n".join([f"  {first}", *(f"    {line}" for line in others)])


def _wrapped(console: Console, text: str, width: int) -> list[str]:
    return [line.plain.rstrip() for line in Text(text).wrap(console, width)] if text else []
