"""A table of captioned images: a .parquet file, or a .jsonl, .csv or .tsv that names files relative to it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from t2ikit.data.captioned import Captioned
from t2ikit.data.captions import captions_of, joined
from t2ikit.data.configs import TableConfig
from t2ikit.data.formats.delimited import DELIMITED, Delimited
from t2ikit.data.formats.folder_scan import find_image, read_rows, read_text
from t2ikit.data.formats.parquet import ParquetSource
from t2ikit.data.formats.rows import IMAGE_KEYS, choose_columns, composed, find_column, no_rows
from t2ikit.data.problems import Problems
from t2ikit.data.source import Entry, FileSource
from t2ikit.data.splits import by_folder
from t2ikit.errors import UserError


def open_table(config: TableConfig) -> Captioned:
    """The dataset that a table's config describes.

    Raises:
        UserError: the file is missing or not a table, or has too few usable images.
    """
    path = Path(os.path.abspath(Path(config.spec).expanduser()))
    if not path.is_file():
        raise UserError(
            f"{path}: there is no such file",
            expected="a .jsonl, .csv, .tsv or .parquet file with images and captions",
            got=f"{path.parent} does not exist" if not path.parent.is_dir() else None,
            fix="check the path after --data; it is relative to where the command runs",
        )
    columns = (config.image_column, config.caption_column)
    if path.suffix.lower() == ".parquet":
        return Captioned(config, ParquetSource(str(path), [path], *columns, splits=config.splits))
    return Captioned(config, LinesSource(path, *columns, splits=config.splits))


class LinesSource(FileSource):
    """The rows of a .jsonl, .csv or .tsv file, each naming an image file.

    Several rows of one image add captions to it.

    Raises:
        UserError: a .csv or .tsv has not the columns, or there is no row.
    """

    def __init__(
        self, path: Path, image_column: str | None, caption_column: str | None, *, splits: bool = True
    ) -> None:
        self.label, self.unused = str(path), []
        self.problems = Problems(self.label)
        found: dict[str, Entry] = {}
        for where, row in self._rows(path, image_column, caption_column):
            key = find_column(row.keys(), image_column, IMAGE_KEYS) or image_column or "file_name"
            image = find_image(where, row, key, path.parent, path.parent, self.problems)
            captions, problem = captions_of(row, caption_column, (key,))
            if problem is not None:
                self.problems.add(where + problem[1], problem[0])
            if image is not None and captions is not None:
                name = composed(image.relative_to(path.parent).as_posix())
                before = found[name].captions if name in found else ()
                found[name] = Entry(name, joined(before, captions), image)
        self.entries = sorted(found.values(), key=lambda entry: entry.name)
        if not self.entries and not self.problems:
            raise no_rows(self.label)
        self.entries, self.layout = by_folder(self.entries, splits)

    def _rows(
        self, path: Path, image: str | None, caption: str | None
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """The rows with where they are, once the columns were found."""
        if path.suffix.lower() not in DELIMITED:
            return read_rows(path, path.name, self.problems)
        text = read_text(path, path.name, self.problems) or ""
        table = Delimited(text, path.name, (image, caption))
        if table.columns:
            hint = "; the first row names the columns, as in `file_name,text`"
            choose_columns(self.label, table.columns, image, caption, hint)
        return table.rows(self.problems)
