"""Captioned images in the rows of a table: a .jsonl, a .parquet or a dataset of the `datasets` library.

A cell holds an image as a path relative to the table's file, as a file's bytes, or as the pair
{"bytes", "path"} that `datasets` writes.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from t2ikit.data.captioned import Captioned
from t2ikit.data.captions import captions_of
from t2ikit.data.configs import TableConfig
from t2ikit.data.formats.folder import Files
from t2ikit.data.formats.folder_scan import find_image, read_rows
from t2ikit.data.problems import Problems
from t2ikit.data.source import Entry, Source
from t2ikit.data.splits import by_folder
from t2ikit.errors import UserError, did_you_mean

IMAGE_KEYS = ("image", "file_name", "picture", "img", "jpg", "png")
"""Where images are looked for when no key is given, in this order."""


def open_table(config: TableConfig) -> Captioned:
    """The dataset that a table's config describes.

    Raises:
        UserError: the file is missing or no table, or has too little in it that can be used.
    """
    path = Path(os.path.abspath(Path(config.spec).expanduser()))
    if not path.is_file():
        raise UserError(
            f"{path}: there is no such file",
            expected="a .jsonl or .parquet file with images and captions",
            got=f"{path.parent} does not exist" if not path.parent.is_dir() else None,
            fix="check the path after --data; it is relative to where the command runs",
        )
    columns = (config.image_column, config.caption_column)
    if path.suffix.lower() == ".parquet":
        from t2ikit.data.formats.parquet import ParquetSource

        return Captioned(config, ParquetSource(str(path), [path], *columns, splits=config.splits))
    return Captioned(config, LinesSource(path, *columns, splits=config.splits))


class LinesSource(Files):
    """The rows of a .jsonl file, each naming an image file.

    Several rows of one image are several captions of it.
    """

    def __init__(
        self, path: Path, image_column: str | None, caption_column: str | None, *, splits: bool = True
    ) -> None:
        self.label, self.unused = str(path), []
        self.problems = Problems(self.label)
        found: dict[str, Entry] = {}
        for where, row in read_rows(path, path.name, self.problems):
            key = find_column(row.keys(), image_column, IMAGE_KEYS) or image_column or "file_name"
            image = find_image(where, row, key, path.parent, path.parent, self.problems)
            captions, wrong = captions_of(row, caption_column, (key,))
            if wrong is not None:
                self.problems.add(where + wrong[1], wrong[0])
            if image is not None and captions is not None:
                name = _composed(image.relative_to(path.parent).as_posix())
                before = found[name].captions if name in found else ()
                found[name] = Entry(name, tuple(dict.fromkeys((*before, *captions))), image)
        self.entries = sorted(found.values(), key=lambda entry: entry.name)
        if not self.entries and not self.problems:
            raise _no_rows(self.label)
        self.entries, self.layout = by_folder(self.entries, splits)


class Rows(Source):
    """Rows that hold the images themselves. An entry's place is its number.

    Args:
        label: for messages.
        rows: what each row's image is called, if anything, and what stands in its column of captions.
        caption: the name of that column.
        splits: keep folders that are named as splits, in what images are called.
    """

    def __init__(
        self, label: str, rows: Iterable[tuple[Any, Any]], caption: str, *, splits: bool = True
    ) -> None:
        self.label, self.unused = label, []
        self.problems = Problems(label)
        found: dict[str, Entry] = {}
        for number, (name, value) in enumerate(rows):
            key = _composed(name) if isinstance(name, str) and name else f"row-{number:08d}"
            if key in found:  # another image of the same file name
                key = f"{key}#{number}"
            captions, wrong = captions_of({caption: value}, caption)
            if wrong is not None:
                self.problems.add(f"row {number} ({key}){wrong[1]}", wrong[0])
            elif captions is not None:
                found[key] = Entry(key, captions, number)
        self.entries = sorted(found.values(), key=lambda entry: entry.name)
        if not self.entries and not self.problems:
            raise _no_rows(label)
        self.entries, self.layout = by_folder(self.entries, splits)


def cell_bytes(cell: Any) -> bytes:
    """The image file that a cell holds.

    Raises:
        OSError: it holds none.
    """
    content = cell.get("bytes") if isinstance(cell, Mapping) else cell
    if isinstance(content, (bytes, bytearray)) and content:
        return bytes(content)
    path = cell.get("path") if isinstance(cell, Mapping) else None
    if path and Path(path).is_file():
        return Path(path).read_bytes()
    raise OSError("the row holds no image")


def choose_columns(
    label: str, names: Sequence[str], image: str | None, caption: str | None
) -> tuple[str, str]:
    """Which columns hold images and captions.

    Raises:
        UserError: it cannot be told, or there is no column of the name that was given.
    """
    from t2ikit.data.captions import CAPTION_KEYS

    return (
        _column(label, names, image, IMAGE_KEYS, "image"),
        _column(label, names, caption, CAPTION_KEYS, "caption"),
    )


def find_column(names: Collection[str], given: str | None, usual: Sequence[str]) -> str | None:
    """The given column, or the first usual one that is there; None if there is none."""
    return next((name for name in ((given,) if given else usual) if name in names), None)


def _column(label: str, names: Sequence[str], given: str | None, usual: Sequence[str], what: str) -> str:
    found = find_column(names, given, usual)
    if found is not None:
        return found
    raise UserError(
        f"{label}: no column of {what}s" if given is None else f"{label}: no column {given!r}",
        expected=given or "one of " + ", ".join(usual),
        got=", ".join(names),
        fix=f"--set data.{what}_column=NAME; " + did_you_mean(given or usual[0], names),
    )


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name.replace("\\", "/"))


def _no_rows(label: str) -> UserError:
    return UserError(
        f"{label}: there are no rows in it",
        expected="an image and its captions in each row",
        got="no row",
        fix="write one row an image",
    )
