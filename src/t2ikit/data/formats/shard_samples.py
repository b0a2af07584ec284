"""The files of a tar shard as samples: which image belongs to which caption.

WebDataset's rule comes first: a file's key is its path up to the first dot of its base name. If that gives a
key no image, as for `v1.5/red.orig.jpg`, the key ends at the last dot instead.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from t2ikit.data.image_files import SUFFIXES

TEXTS = (".txt", ".caption", ".json")
"""Endings of caption files; the first that exists counts."""


@dataclass(frozen=True)
class Member:
    """A file inside a shard, by the position of its bytes."""

    shard: Path
    name: str
    offset: int
    size: int

    def read(self) -> bytes:
        """The file's bytes.

        Raises:
            OSError: the shard cannot be read that far.
        """
        with self.shard.open("rb") as file:
            file.seek(self.offset)
            content = file.read(self.size)
        if len(content) < self.size:
            raise OSError("the shard ends within it")
        return content


@dataclass
class Sample:
    """The files of one key."""

    image: Member | None = None
    texts: dict[str, Member] = field(default_factory=dict)

    def add(self, ending: str, member: Member) -> None:
        """Add a file by its ending, such as ".jpg"; other kinds of files are ignored."""
        if ending in SUFFIXES:
            self.image = member
        elif ending in TEXTS:
            self.texts[ending] = member


def samples(members: Iterable[Member]) -> dict[str, Sample]:
    """The samples of one shard by their keys; files that are neither image nor caption are ignored."""
    groups: dict[str, list[Member]] = {}
    for member in members:
        name = unicodedata.normalize("NFC", member.name.removeprefix("./"))
        folder, _, base = name.rpartition("/")
        stem, dot, _ = base.partition(".")
        if stem and dot:
            named = Member(member.shard, name, member.offset, member.size)
            groups.setdefault(f"{folder}/{stem}".lstrip("/"), []).append(named)
    found: dict[str, Sample] = {}
    for key, files in groups.items():
        found |= _of_one_key(key, files)
    return found


def _of_one_key(key: str, files: list[Member]) -> dict[str, Sample]:
    """The samples among the files that share a key by WebDataset's rule."""
    whole = Sample()
    by_last_dot: dict[str, Sample] = {}
    for member in files:
        _, _, after_first = member.name.rpartition("/")[2].partition(".")
        whole.add(f".{after_first.lower()}", member)
        stem, _, ending = member.name.rpartition(".")
        by_last_dot.setdefault(stem.lstrip("/"), Sample()).add(f".{ending.lower()}", member)
    imaged = {stem: sample for stem, sample in by_last_dot.items() if sample.image is not None}
    if whole.image is not None or not imaged:
        return {key: whole} if whole.image is not None or whole.texts else {}
    if len(imaged) == 1:  # red.v2.jpg beside red.txt
        sample = next(iter(imaged.values()))
        sample.texts = sample.texts or whole.texts
    return imaged
