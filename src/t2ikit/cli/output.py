"""Rows for people and for programs: a table on a terminal, tab-separated lines in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def print_rows(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows of text; in a pipe without a header, and nothing is cut."""
    if not sys.stdout.isatty():
        for row in rows:
            print("\t".join(" ".join(cell.split()) for cell in row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)
