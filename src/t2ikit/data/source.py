"""Where captioned images come from: what a folder, a table or a font has in common."""

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
    """One captioned image that was found, not yet opened.

    Attributes:
        name: tells it from all others of its source, the same on every system: for a file its path
            relative to the folder with forward slashes, in Unicode's composed form.
        captions: one or more, none of them empty.
        place: what its source finds it by.
        split: where its source's layout says to which split it belongs.
    """

    name: str
    captions: tuple[str, ...]
    place: Any = None
    split: Split | None = None


@dataclass(frozen=True)
class Layout:
    """Which parts of a source are its splits, by names that it gives them.

    Attributes:
        train, validation: what is trained on and what is held out.
        unused: other parts, which are left out, and the number of images of each; None: not counted.
    """

    train: str
    validation: str
    unused: Mapping[str, int | None]


class Source(ABC):
    """Captioned images that were looked for, but not opened.

    Attributes:
        label: what it is called, for messages.
        entries: what was found, sorted by name.
        problems: what was found wrong, which is not among the entries.
        unused: names of images that were found but have no caption where captions are listed.
        layout: where parts of it are named as splits, and every entry has its own.
    """

    label: str
    entries: list[Entry]
    problems: Problems
    unused: list[str]
    layout: Layout | None = None

    @abstractmethod
    def read(self, entry: Entry) -> bytes:
        """An image file's content.

        Raises:
            OSError: it cannot be read.
        """

    def identity(self, entry: Entry) -> str:
        """Changes when the image does; cheaper than reading it where the source knows a way."""
        return digest(self.read(entry))

    def order(self, entry: Entry) -> tuple[object, ...]:
        """Sorts entries as they are read fastest."""
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
