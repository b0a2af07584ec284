"""What all origins of captioned images have in common: a folder, a table, a font."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2ikit.core.interfaces import Split
from t2ikit.data.problems import Problems


@dataclass(frozen=True)
class Entry:
    """A captioned image that was found but not opened yet.

    Attributes:
        name: unique within its source and the same on every system: of a file, its path relative to the
            folder with forward slashes, in Unicode's composed form.
        captions: one or more, none of them empty.
        place: how its source finds it again.
        split: as its source's layout says; None: it does not say.
        group: what variants of one image have in common, which no split may divide; None: it has none.
    """

    name: str
    captions: tuple[str, ...]
    place: Any = None
    split: Split | None = None
    group: str | None = None


@dataclass(frozen=True)
class Layout:
    """Which named parts of a source are its splits.

    Attributes:
        train, validation: what is trained on and what is held out.
        unused: other parts, which are left out, with their number of images; None: not counted.
    """

    train: str
    validation: str
    unused: Mapping[str, int | None]


class Source(ABC):
    """Captioned images that were found but not opened.

    Attributes:
        label: its name in messages.
        entries: what was found, sorted by name.
        problems: of whatever is not among the entries.
        unused: names of images that were found but are not listed in the metadata.
        layout: if parts of it are named as splits; then every entry has its split.
        notes: what users should know about it, a line each.
    """

    label: str
    entries: list[Entry]
    problems: Problems
    unused: list[str]
    layout: Layout | None = None
    notes: tuple[str, ...] = ()

    @abstractmethod
    def read(self, entry: Entry) -> bytes:
        """An image file's content.

        Raises:
            OSError: it cannot be read.
        """

    def identity(self, entry: Entry) -> str:
        """A text that changes when the image does, without reading it if possible."""
        return digest(self.read(entry))

    def order(self, entry: Entry) -> tuple[object, ...]:
        """A sort key: entries in this order are read fastest."""
        return (entry.name,)


class FileSource(Source):
    """Entries whose place is a file of their own."""

    def read(self, entry: Entry) -> bytes:
        """The file's content."""
        path: Path = entry.place
        return path.read_bytes()

    def identity(self, entry: Entry) -> str:
        """Where the file is, its size and when it was last written."""
        path: Path = entry.place
        stat = path.stat()
        return f"{path} {stat.st_size} {stat.st_mtime_ns}"


def digest(content: bytes) -> str:
    """A hash of a file's content."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()
