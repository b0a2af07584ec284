"""CSV and TSV: cells under the names in the first row, whatever parts and quotes them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from typing import Any

from t2ikit.data.captions import CAPTION_KEYS
from t2ikit.data.formats.rows import IMAGE_KEYS
from t2ikit.data.problems import Problem, Problems

DELIMITED = (".csv", ".tsv")
"""Endings of these tables."""
DELIMITERS = (",", "\t", ";", "|")
QUOTES = ('"', "'")
SAMPLE = 1 << 16
"""Characters from which delimiter and quote are told."""
_FIRST_LINE = re.compile(r"sep=(.)\n")
"""What Excel writes above a table to say its delimiter."""
BAD_QUOTES = Problem(
    "a row whose quote marks do not match",
    'cells such as "a cat, sitting", with a quote mark inside written twice',
    "close the quote marks, or save the table again from a spreadsheet",
)
TOO_MANY_CELLS = Problem(
    "a row with more cells than there are columns",
    "a cell for each name in the first row",
    'put captions that contain the delimiter in quote marks: cat.png,"a cat, sitting"',
)


class Delimited:
    """The rows of a table.

    Args:
        text: its content.
        name: of its file, in messages.
        like: the values of these are looked for in its first row; they decide between delimiters.

    Attributes:
        columns: the names in its first row.
    """

    def __init__(self, text: str, name: str, like: tuple[str | None, ...] = ()) -> None:
        told = _FIRST_LINE.match(text)
        self._name, self._lines_before = name, 0 if told is None else 1
        self._text = text if told is None else text[told.end() :]
        delimiters: tuple[str, ...] = DELIMITERS if told is None else (told[1],)
        if name.lower().endswith(".tsv"):
            delimiters = tuple(sorted(delimiters, key=lambda delimiter: delimiter != "\t"))
        self._dialect = _sniffed(self._text, delimiters, {column for column in like if column})
        self.columns = self._columns()

    def rows(self, problems: Problems) -> Iterator[tuple[str, dict[str, str]]]:
        """Each row's cells by their columns, with where it is; what cannot be read is noted."""
        reader = self._reader(strict=True)
        header = False
        while True:
            first = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                problems.add(f"{self._where(first, reader.line_num)} ({error})", BAD_QUOTES)
                continue
            if not header or not cells:
                header = header or bool(cells)
                continue
            where = self._where(reader.line_num, reader.line_num)
            if any(cell.strip() for cell in cells[len(self.columns) :]):
                problems.add(where, TOO_MANY_CELLS)
                continue
            yield where, {name: cell for name, cell in zip(self.columns, cells, strict=False) if name}

    def _columns(self) -> list[str]:
        try:
            return _names(next((row for row in self._reader(strict=False) if row), []))
        except csv.Error:  # told with the rows
            return []

    def _reader(self, *, strict: bool) -> Any:
        return _reader(self._text, self._dialect, strict=strict)

    def _where(self, first: int, last: int) -> str:
        first, last = first + self._lines_before, last + self._lines_before
        return f"{self._name}:{last}" if first >= last else f"{self._name}:{first} to {last}"


_Dialect = tuple[str, str, str | None]
"""Delimiter, quote and escape character."""


def _reader(text: str, dialect: _Dialect, *, strict: bool) -> Any:
    """A `csv.reader` of the text."""
    delimiter, quote, escape = dialect
    return csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        quotechar=quote,
        escapechar=escape,
        skipinitialspace=True,
        strict=strict,
    )


def _names(cells: list[str]) -> list[str]:
    return [cell.strip() for cell in cells]


def _sniffed(text: str, delimiters: tuple[str, ...], given: set[str]) -> _Dialect:
    """The delimiter and quote that make most sense of the first rows."""
    sample = text[:SAMPLE]
    if len(sample) < len(text):
        sample = sample[: sample.rfind("\n") + 1] or sample
    escape = "\\" if '\\"' in sample else None
    known = {*IMAGE_KEYS, *CAPTION_KEYS, *given}
    choices = [(delimiter, quote, escape) for quote in QUOTES for delimiter in delimiters]
    return max(choices, key=lambda choice: _sense(sample, choice, known))


def _sense(sample: str, dialect: _Dialect, known: set[str]) -> tuple[float, ...]:
    """How much like a table the first rows look: known columns, rows of the same width, no quotes left."""
    try:
        rows = [row for row in _reader(sample, dialect, strict=False) if row]
    except csv.Error:
        return (-1,)
    if not rows:
        return (0,)
    width = len(rows[0])
    even = sum(len(row) == width for row in rows) / len(rows)
    quoted = sum(len(cell) > 1 and cell[0] == cell[-1] and cell[0] in QUOTES for row in rows for cell in row)
    return (len(known.intersection(_names(rows[0]))), width > 1, even, -quoted, width)
