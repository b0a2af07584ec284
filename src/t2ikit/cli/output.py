"""Standard output for people and programs: a table on a terminal, tab-separated lines in a pipe."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from t2ikit.errors import as_word, command
from t2ikit.utils.console import SCREEN, Verbosity, verbosity
from t2ikit.utils.quoting import visible, visible_lines


def echo(text: object = "") -> None:
    """Print lines on standard output, wrapped at words on a terminal; bars give way to them."""
    SCREEN.clear()
    lines = visible_lines(str(text))
    print("\n".join(map(wrapped, lines) if sys.stdout.isatty() else lines))


def print_result(rows: Sequence[tuple[str, object]]) -> None:
    """Print what came of a command, a labelled line each; with `--quiet` the first value alone.

    Args:
        rows: label and value; the values stand below each other.
    """
    SCREEN.clear()
    rows = [(label, as_word(value) if isinstance(value, Path) else value) for label, value in rows]
    width = max(len(label) for label, _ in rows)
    if verbosity() == Verbosity.quiet:
        print(visible(str(rows[0][1])))
        return
    for label, value in rows:
        print(f"{label + ':':<{width + 1}} {visible(str(value))}")


def print_command(what: str, words: Sequence[str]) -> None:
    """Print a command that is to be copied, quoted for a shell and on a line of its own."""
    SCREEN.clear()
    print(f"{what}\n{visible(command(*words))}")


def print_rows(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows of text under a header: a table on a terminal, tab-separated lines in a pipe."""
    SCREEN.clear()
    shown = [[visible(" ".join(cell.split())) for cell in row] for row in rows]
    if sys.stdout.isatty():
        from t2ikit.cli.tables import print_table

        print_table(columns, shown)
        return
    for row in (columns, *shown):
        print("\t".join(row))


def print_error(error: object) -> None:
    """Print an error on standard error, wrapped at words on a terminal."""
    SCREEN.clear()
    lines = visible_lines(f"error: {error}")
    text = "\n".join(map(wrapped, lines) if sys.stderr.isatty() else lines)
    print(text, file=sys.stderr)


def wrapped(line: str) -> str:
    """A line in several where it is longer than the terminal is wide.

    The next are indented as far as what stands behind its label. What stands in backquotes is a command to be
    copied: it is not broken.
    """
    width = shutil.get_terminal_size().columns
    if len(line) <= width:
        return line
    label = re.match(r"\s*(?:[\w-]+:\s+|-\s+)?", line)
    indent = len(label[0]) if label else 0
    joined = re.sub(r"`[^`]*`", lambda quoted: quoted[0].replace(" ", "\0"), line[indent:])
    lines = textwrap.wrap(
        joined,
        width,
        initial_indent=line[:indent],
        subsequent_indent=" " * (indent if 0 < indent <= width // 3 else 2),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines).replace("\0", " ")
