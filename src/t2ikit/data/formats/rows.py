"""Rows that hold the images themselves, as in a .parquet file or a dataset of the `datasets` library.

A cell holds an image as a file's bytes, or as the pair {"bytes", "path"} that `datasets` writes.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from t2ikit.data.captions import CAPTION_KEYS, captions_of
from t2ikit.data.problems import Problems
from t2ikit.data.source import Entry, Source
from t2ikit.data.splits import by_folder
from t2ikit.errors import UserError, did_you_mean

IMAGE_KEYS = ("image", "file_name", "picture", "img", "jpg", "png")
"""Keys tried in this order when none is given."""


class Rows(Source):
    """Rows that hold the images themselves. An entry's place is its row number.

    Args:
        label: for messages.
        rows: the name of each row's image, if it has one, and the value in its caption column.
        caption: the name of that column.
        splits: keep the splits that the folders in the images' names are named after.
    """

    def __init__(
        self, label: str, rows: Iterable[tuple[Any, Any]], caption: str, *, splits: bool = True
    ) -> None:
        self.label, self.unused = label, []
        self.problems = Problems(label)
        found: dict[str, Entry] = {}
        for number, (name, value) in enumerate(rows):
            key = composed(name) if isinstance(name, str) and name else f"row-{number:08d}"
            if key in found:  # another image of the same file name
                key = f"{key}#{number}"
            captions, problem = captions_of({caption: value}, caption)
            if problem is not None:
                self.problems.add(f"row {number} ({key}){problem[1]}", problem[0])
            elif captions is not None:
                found[key] = Entry(key, captions, number)
        self.entries = sorted(found.values(), key=lambda entry: entry.name)
        if not self.entries and not self.problems:
            raise no_rows(label)
        self.entries, self.layout = by_folder(self.entries, splits)


def cell_bytes(cell: Any) -> bytes:
    """The image file that a cell holds.

    Raises:
        OSError: it holds no image.
    """
    content = cell.get("bytes") if isinstance(cell, Mapping) else cell
    if isinstance(content, (bytes, bytearray)) and content:
        return bytes(content)
    path = cell.get("path") if isinstance(cell, Mapping) else None
    if path and Path(path).is_file():
        return Path(path).read_bytes()
    raise OSError("the row holds no image")


def choose_columns(
    label: str, names: Sequence[str], image: str | None, caption: str | None, hint: str = ""
) -> tuple[str, str]:
    """Which columns hold images and captions; `hint` is what else to do where one is missing.

    Raises:
        UserError: none of the usual columns is there, or not the given one.
    """
    return (
        _column(label, names, image, IMAGE_KEYS, "image", hint),
        _column(label, names, caption, CAPTION_KEYS, "caption", hint),
    )


def find_column(names: Collection[str], given: str | None, usual: Sequence[str]) -> str | None:
    """The given column, or the first usual one that exists; None if there is none."""
    return next((name for name in ((given,) if given else usual) if name in names), None)


def _column(
    label: str, names: Sequence[str], given: str | None, usual: Sequence[str], what: str, hint: str
) -> str:
    found = find_column(names, given, usual)
    if found is not None:
        return found
    fix = f"--set data.{what}_column=NAME; " + did_you_mean(given or usual[0], names) + hint
    if what == "image" and given is None and any("url" in name.lower() for name in names):
        fix = (
            "links are not followed: download the images first, and give their paths or the images themselves"
        )
    raise UserError(
        f"{label}: no column of {what}s" if given is None else f"{label}: no column {given!r}",
        expected=given or "one of " + ", ".join(usual),
        got=", ".join(names),
        fix=fix,
    )


def composed(name: str) -> str:
    """A file's name in the form that is the same on every system: forward slashes, Unicode composed."""
    name = name.replace("\\", "/")
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def no_rows(label: str) -> UserError:
    """The error of an empty table."""
    return UserError(
        f"{label}: there are no rows in it",
        expected="an image and its captions in each row",
        got="no row",
        fix="write one row an image",
    )
