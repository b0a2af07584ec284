"""Captioned images in .parquet files: names and captions are read at once, images when they are needed."""

from __future__ import annotations

import bisect
import functools
import itertools
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from t2ikit.data.formats.rows import Rows, cell_bytes, choose_columns
from t2ikit.data.source import Entry
from t2ikit.errors import UserError
from t2ikit.utils.extras import import_extra
from t2ikit.utils.quoting import one_line

GROUPS = 4
"""Row groups that are kept in memory."""


class ParquetSource(Rows):
    """The rows of .parquet files, each with the bytes of an image file. An entry's place is its row number.

    Args:
        label: for messages.
        files: in the order of their rows.
        image_column, caption_column: names of columns; None: the usual ones.
        splits: keep the splits that the folders in the images' paths are named after.
        origin: the address that a file was fetched from, by which the cache knows it.

    Raises:
        UserError: one is not a parquet file, or has not the columns.
    """

    def __init__(
        self,
        label: str,
        files: Sequence[Path],
        image_column: str | None,
        caption_column: str | None,
        *,
        splits: bool = True,
        origin: str | None = None,
    ) -> None:
        self._tables = [_Table(path, image_column, caption_column, origin) for path in files]
        self._starts = list(itertools.accumulate((table.count for table in self._tables), initial=0))
        rows = itertools.chain.from_iterable(table.rows() for table in self._tables)
        super().__init__(label, rows, self._tables[0].caption, splits=splits)

    def read(self, entry: Entry) -> bytes:
        """The cell's bytes."""
        table, row = self._find(entry)
        return cell_bytes(table.cell(row))

    def identity(self, entry: Entry) -> str:
        """The row's file, with its size and time of writing, and the row's number."""
        table, row = self._find(entry)
        return f"{table.identity} {row}"

    def order(self, entry: Entry) -> tuple[object, ...]:
        """The order of the rows."""
        return (entry.place,)

    def _find(self, entry: Entry) -> tuple[_Table, int]:
        number = bisect.bisect_right(self._starts, entry.place) - 1
        return self._tables[number], entry.place - self._starts[number]


class _Table:
    """One file: its small columns read once, its images a row group at a time, by any thread."""

    def __init__(
        self, path: Path, image_column: str | None, caption_column: str | None, origin: str | None = None
    ) -> None:
        self.path = path
        stat = path.stat()
        where = f"{path} {stat.st_size} {stat.st_mtime_ns}"
        self.identity = where if origin is None else f"{origin} {stat.st_size}"
        schema = self._file.schema_arrow
        self.image, self.caption = choose_columns(str(path), schema.names, image_column, caption_column)
        self._named = "path" in _fields(schema.field(self.image))
        metadata = self._file.metadata
        sizes = (metadata.row_group(i).num_rows for i in range(metadata.num_row_groups))
        self._starts = list(itertools.accumulate(sizes, initial=0))
        self.count = self._starts[-1]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_file", "_lock", "_group")}

    @functools.cached_property
    def _lock(self) -> threading.Lock:
        return threading.Lock()

    @functools.cached_property
    def _file(self) -> Any:
        parquet = import_extra("pyarrow.parquet", "hub", f"{self.path}: reading parquet")
        try:
            return parquet.ParquetFile(self.path, memory_map=True)
        except (_arrow().ArrowException, OSError) as error:
            raise self._unreadable(error) from error

    @functools.cached_property
    def _group(self) -> Any:
        """A function from a row group's number to its images."""

        def read(number: int) -> Any:
            return self._file.read_row_group(number, columns=[self.image]).column(self.image)

        return functools.lru_cache(maxsize=GROUPS)(read)

    def rows(self) -> Iterator[tuple[str | None, Any]]:
        """The name of each row's image, if it has one, and the value in its caption column."""
        columns = [self.caption, *([f"{self.image}.path"] if self._named else [])]
        try:
            table = self._file.read(columns=columns)
        except (_arrow().ArrowException, OSError) as error:
            raise self._unreadable(error) from error
        captions = table.column(self.caption).to_pylist()
        if not self._named:
            return zip([None] * len(captions), captions, strict=True)
        cells = table.column(self.image).to_pylist()
        return zip([cell and cell["path"] for cell in cells], captions, strict=True)

    def cell(self, row: int) -> Any:
        """The cell of a row.

        Raises:
            OSError: it cannot be read.
        """
        group = bisect.bisect_right(self._starts, row) - 1
        try:
            with self._lock:
                cells = self._group(group)
            return cells[row - self._starts[group]].as_py()
        except _arrow().ArrowException as error:
            raise OSError(one_line(error, 120)) from error

    def _unreadable(self, error: Exception) -> UserError:
        return UserError(
            f"{self.path}: this is no parquet file",
            expected="a table with images and captions",
            got=one_line(error, 120),
            fix="write it again, or give another file",
        )


def _arrow() -> Any:
    return import_extra("pyarrow", "hub", "reading parquet")


def _fields(field: Any) -> set[str]:
    """Names of a column's fields; empty if it is not a struct."""
    types = import_extra("pyarrow.types", "hub", "reading parquet")
    return {part.name for part in field.type} if types.is_struct(field.type) else set()
