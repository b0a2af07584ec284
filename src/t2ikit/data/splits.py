"""Layouts that name splits: folders or files called train, and test, validation or the like.

Such a layout is kept: train is for training, and the first of the others in `HELD_OUT` is for validation.
Everything else is left out, since it may be a test set.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from t2ikit.core.interfaces import Split
from t2ikit.data.problems import Problems
from t2ikit.data.source import Entry, Layout, Source

TRAIN = ("train", "training")
HELD_OUT = ("validation", "valid", "val", "dev", "test", "testing")
"""Names of what is not trained on; the first one that exists is for validation."""
WORD = re.compile(rf"(?<![^\W\d_])(?:{'|'.join((*TRAIN, *HELD_OUT))})(?![^\W\d_])", re.IGNORECASE)
"""One of these names as a whole word."""


def named_splits(names: Collection[str]) -> tuple[str, str] | None:
    """The name for training and the name for validation; None if either is missing."""
    lower = {name.lower(): name for name in names}
    train = next((lower[name] for name in TRAIN if name in lower), None)
    validation = next((lower[name] for name in HELD_OUT if name in lower), None)
    return None if train is None or validation is None else (train, validation)


def by_folder(entries: list[Entry], wanted: bool) -> tuple[list[Entry], Layout | None]:
    """Entries with the splits that their folders name, and the layout; None if the folders name none.

    The folders that count are those directly in the deepest folder that all entries have in common.

    Args:
        entries: sorted by name.
        wanted: whether to keep splits.
    """
    above = shared_folder([entry.name for entry in entries])
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(folder_in(entry.name, above), []).append(entry)
    found = named_splits(groups) if wanted else None
    if found is None:
        return entries, None
    train, validation = (groups.pop(name) for name in found)
    kept = [replace(entry, split="train") for entry in train]
    kept += [replace(entry, split="validation") for entry in validation]
    layout = layout_of(found, {name: len(rest) for name, rest in groups.items()}, above)
    return sorted(kept, key=lambda entry: entry.name), layout


def shared_folder(names: Sequence[str]) -> str:
    """The deepest folder that all names have in common, with a slash at its end; "" if there is none.

    Args:
        names: sorted, with forward slashes.
    """
    if not names:
        return ""
    pairs = zip(names[0].split("/")[:-1], names[-1].split("/")[:-1], strict=False)
    return "".join(f"{a}/" for a, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def folder_in(name: str, above: str) -> str:
    """The folder directly in `above` that a name leads through; "" if it is in `above` itself."""
    folder, slash, _ = name[len(above) :].partition("/")
    return folder if slash else ""


def layout_of(found: tuple[str, str], rest: Mapping[str, int], above: str) -> Layout:
    """The layout whose splits are two folders of `above`; `rest` are the numbers of images in the others."""
    places = {name: f"{above}{name}/" if name else f"beside {found[0]}/" for name in rest}
    unused = {places[name]: count for name, count in rest.items()}
    return Layout(f"{above}{found[0]}/", f"{above}{found[1]}/", unused)


def split_of(path: Path, root: Path) -> str | None:
    """The split in a file's name, or else in the name of its nearest folder below `root`; None: none."""
    inside = path.relative_to(root)
    for name in (inside.stem, *(folder.name for folder in inside.parents if folder.name)):
        word = WORD.search(name)
        if word is not None:
            return word[0].lower()
    return None


def grouped(files: Sequence[Path], root: Path) -> dict[str, list[Path]]:
    """Files by the split that their names give; under "" those without one."""
    groups: dict[str, list[Path]] = {}
    for path in files:
        groups.setdefault(split_of(path, root) or "", []).append(path)
    return groups


def of_files(
    label: str, files: Sequence[Path], root: Path, wanted: bool, open_part: Callable[[list[Path]], Source]
) -> Source:
    """Files of one kind as a source, with the splits that their names give.

    Args:
        label: for messages.
        files: sorted.
        root: the folder they are in.
        wanted: whether to keep splits.
        open_part: opens some of the files as one source.
    """
    groups = grouped(files, root)
    found = named_splits([name for name in groups if name]) if wanted else None
    if found is None:
        return open_part(list(files))
    parts = {name: open_part(groups.pop(name)) for name in found}
    rest = {name or ", ".join(path.name for path in paths[:3]): None for name, paths in groups.items()}
    return Joined(label, parts, rest)


class Joined(Source):
    """Two sources as the two splits of one. An entry's place is its source and its entry in that.

    Args:
        label: for messages.
        parts: the two sources by the names of their splits, training first.
        unused: other parts, which are left out, with their number of images.
    """

    def __init__(self, label: str, parts: Mapping[str, Source], unused: Mapping[str, int | None]) -> None:
        self.label, self.unused = label, [name for part in parts.values() for name in part.unused]
        self.problems = Problems(label)
        self.entries: list[Entry] = []
        self._parts = list(parts.values())
        splits: tuple[Split, Split] = ("train", "validation")
        for (name, part), split in zip(parts.items(), splits, strict=True):
            for kind, places in part.problems.found.items():
                for place in places:
                    self.problems.add(f"{name}: {place}", kind)
            self.entries += [
                Entry(f"{name}/{entry.name}", entry.captions, (part, entry), split) for entry in part.entries
            ]
        self.entries.sort(key=lambda entry: entry.name)
        train, validation = parts
        self.layout = Layout(train, validation, unused)

    def read(self, entry: Entry) -> bytes:
        """The image's bytes, from its own source."""
        part, inner = entry.place
        content: bytes = part.read(inner)
        return content

    def identity(self, entry: Entry) -> str:
        """The identity in its own source."""
        part, inner = entry.place
        return f"{self._parts.index(part)} {part.identity(inner)}"

    def order(self, entry: Entry) -> tuple[object, ...]:
        """One source after the other."""
        part, inner = entry.place
        return (self._parts.index(part), *part.order(inner))
