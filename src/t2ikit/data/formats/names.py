"""Captions from the names of files and folders, or from templates alone; and a folder's names, read fast.

A folder of a million images is listed in seconds: no file is opened or asked for its size, and the names
stay in one piece of memory.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import overload

import numpy as np

from t2ikit.data.formats.rows import composed
from t2ikit.data.image_files import SUFFIXES
from t2ikit.data.problems import Problem, Problems
from t2ikit.data.source import Entry, FileSource
from t2ikit.data.splits import HELD_OUT, TRAIN, by_folder

SPLIT_NAMES = frozenset((*TRAIN, *HELD_OUT))
NO_WORDS = Problem(
    "a file whose name has no words",
    "names such as red_dragon-02.png, or folders named after what is in them",
    "rename it, write captions into metadata.jsonl or .txt files, or use the same caption for all: "
    """--set data.captions=none --set 'data.templates=["a photo of a cat"]'""",
)
_BETWEEN = r"""\s_.,;:+~=#&@!?%$^*"()\[\]{}\-\u2010-\u2015"""
_BETWEEN_WORDS = re.compile(rf"[{_BETWEEN}]+")
_A_WORD = re.compile(rf"[^{_BETWEEN}\d]")
_CAMEL = re.compile(r"(?<=[^\W\d_A-Z])(?=[A-Z])")
_COUNTER = re.compile(r"(?<=[^\W\d_]{2})\d+$")


def caption_of(name: str) -> str:
    """The words in the name of an image, and before them those of its folders; "" if there are none.

    "dragons/red_dragon-02.png" gives "dragons red dragon". Whatever stands between words is a space,
    `RedDragon` is two words, and a number at the end is a counter, which is left out. So is one before a
    folder's name (`10_dog`), and a folder that is named after a split.

    Args:
        name: relative to the dataset's folder, with forward slashes.
    """
    *folders, file = name.split("/")
    words = [
        word
        for folder in folders
        if folder.lower() not in SPLIT_NAMES
        for word in _words(folder, counted_first=True)
    ]
    return " ".join([*words, *_words(file.rpartition(".")[0])])


def has_words(name: str) -> bool:
    """Whether `caption_of` gives any, mostly without asking it."""
    return _A_WORD.search(name.rpartition("/")[2].rpartition(".")[0]) is not None or caption_of(name) != ""


def _words(name: str, *, counted_first: bool = False) -> list[str]:
    words = _BETWEEN_WORDS.sub(" ", _CAMEL.sub(" ", name)).split()
    while words and words[-1].isdecimal():
        words.pop()
    while counted_first and words and words[0].isdecimal():
        words.pop(0)
    if words:
        words[-1] = _COUNTER.sub("", words[-1])
    return words


def no_caption(name: str) -> str:
    """The caption where templates say it all."""
    return ""


class Names(Sequence[str]):
    """Names in one piece of memory, some 20 bytes each beside their letters.

    Args:
        names: in their order.
    """

    def __init__(self, names: Sequence[str]) -> None:
        parts = [os.fsencode(name) for name in names]
        lengths = np.fromiter(map(len, parts), np.int64, len(parts))
        self._content, self._ends = b"".join(parts), np.concatenate([[0], np.cumsum(lengths)])

    def __len__(self) -> int:
        return len(self._ends) - 1

    def digest_into(self, update: Callable[[bytes], object]) -> None:
        """Give all that tells these names from others to a hash."""
        update(self._ends.tobytes())
        update(self._content)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        return os.fsdecode(self._content[self._ends[index] : self._ends[index + 1]])


def image_names(root: Path) -> list[str]:
    """Paths of all visible images under `root`, relative to it and with forward slashes, sorted."""
    found: list[str] = []
    left = [("", str(root))]
    while left:
        prefix, folder = left.pop()
        with os.scandir(folder) as items:
            for item in items:
                name = item.name
                if name.startswith("."):
                    continue
                if item.is_dir(follow_symlinks=False):
                    left.append((f"{prefix}{name}/", item.path))
                elif name[name.rfind(".") :].lower() in SUFFIXES:
                    found.append(prefix + name)
    return sorted(found, key=composed)


class NamedSource(FileSource):
    """The images of a folder with captions from their names.

    Args:
        root: the folder.
        names: of the images, sorted, relative to it.
        caption: from a name to its caption; "" for what has no words.
        problems: where names without words are noted.
        splits: keep the splits that folders are named after.
    """

    def __init__(
        self, root: Path, names: Sequence[str], caption: Callable[[str], str], *, splits: bool = True
    ) -> None:
        self.label, self.unused = str(root), []
        self.problems = Problems(self.label)
        found = []
        for name in names:
            words = caption(composed(name))
            if words or caption is no_caption:
                found.append(Entry(composed(name), (words,), root / name))
            else:
                self.problems.add(name, NO_WORDS)
        self.entries, self.layout = by_folder(found, splits)
