"""A folder of captioned pictures as a dataset."""

from __future__ import annotations

import difflib
import hashlib
import io
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from t2ikit.batch import Record, mix
from t2ikit.data.folder_config import FolderConfig
from t2ikit.data.folder_scan import Entry, Problems, scan
from t2ikit.data.pictures import UNREADABLE, read_picture, verify_header
from t2ikit.errors import UserError
from t2ikit.interfaces import Dataset, Split

SALT = "t2ikit folder split 1"
DECODE_ALL = 20_000
"""Up to this many pictures are all decoded at the start, so that damage is found before training."""
MIRRORED = "#mirrored"
"""Ends the key of a mirrored picture."""


class Folder(Dataset):
    """Pictures in a folder with their captions in `metadata.jsonl` or in .txt files beside them.

    A picture's split follows from its name alone: adding others does not move it. Only where that would
    leave a split with nothing, the picture nearest to it goes there.

    Args:
        config: the folder and how its pictures are read.

    Attributes:
        root: the folder.
        entries: the pictures of each split, sorted by name.
        unused: names of pictures that metadata.jsonl does not name.
        cached: whether all pictures are held decoded in memory.

    Raises:
        UserError: the folder is missing, has too little in it, or has files that cannot be used; all of
            those are named.
    """

    def __init__(self, config: FolderConfig) -> None:
        self.config = config
        self.root = _existing(config.spec)
        problems = Problems(self.root)
        found, self.unused = scan(self.root, config.caption_column, problems)
        count = len(found)
        fits = 3 * config.size**2 * count <= config.cache_mb << 20
        self.cached = fits and count <= DECODE_ALL
        self._pixels = torch.empty(
            count if self.cached else 0, 3, config.size, config.size, dtype=torch.uint8
        )
        digests = self._check(found, problems)
        problems.raise_any()
        if count < 2:
            raise _too_few(self.root, count)
        self.entries = split(found, config.validation)
        self._place = {entry.name: place for place, entry in enumerate(found)}
        self._fingerprint = _fingerprint(config, found, digests)

    def _check(self, entries: Sequence[Entry], problems: Problems) -> list[str]:
        """Open every picture, decode it if they are not too many, and give what tells its content."""
        check = self._decode if len(entries) <= DECODE_ALL else _glance
        with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
            results = list(pool.map(_caught(check), range(len(entries)), entries))
        for entry, (_, error) in zip(entries, results, strict=True):
            if error is not None:
                problems.add(
                    f"{entry.name} ({error})",
                    "a picture that cannot be read",
                    "whole picture files that Pillow opens",
                    "save the picture again or take it out, with its caption",
                )
        return [digest for digest, _ in results]

    def _decode(self, place: int, entry: Entry) -> str:
        content = entry.path.read_bytes()
        pixels = read_picture(io.BytesIO(content), self.config.size, self.config.background)
        if self.cached:
            self._pixels[place] = pixels
        return hashlib.blake2b(content, digest_size=16).hexdigest()

    def size(self, split: Split) -> int:
        """Number of pictures; with `flip` those of training count twice."""
        count = len(self.entries[split])
        return 2 * count if self._mirrors(split) else count

    def _mirrors(self, split: Split) -> bool:
        return self.config.flip and split == "train"

    def _entry(self, split: Split, index: int) -> tuple[Entry, bool]:
        """The entry behind an index, and whether it is the mirrored one."""
        if not 0 <= index < self.size(split):
            raise IndexError(f"index {index} of {self.size(split)} {split} pictures")
        mirrored, place = divmod(index, len(self.entries[split]))
        return self.entries[split][place], bool(mirrored)

    def record(self, split: Split, index: int) -> Record:
        """Picture `index`, (3, size, size) uint8.

        Raises:
            UserError: the file has gone or is damaged (only where pictures are decoded as needed).
        """
        entry, mirrored = self._entry(split, index)
        image = self._image(entry)
        if mirrored:
            return Record(image.flip(-1), entry.captions, entry.name + MIRRORED)
        return Record(image, entry.captions, entry.name)

    def _image(self, entry: Entry) -> Tensor:
        if self.cached:
            return self._pixels[self._place[entry.name]]
        try:
            return read_picture(entry.path, self.config.size, self.config.background)
        except UNREADABLE as error:
            raise UserError(
                f"{entry.path}: this picture cannot be read",
                expected="a whole picture file that Pillow opens",
                got=_reason(error),
                fix="save the picture again or take it out, with its caption",
            ) from error

    def captions(self, split: Split, index: int) -> tuple[str, ...]:
        """All captions of picture `index`."""
        return self._entry(split, index)[0].captions

    def prompts(self, n: int, seed: int) -> list[str]:
        """Captions of the validation split, each once before any comes again."""
        captions = dict.fromkeys(c for entry in self.entries["validation"] for c in entry.captions)
        order = sorted(captions, key=lambda caption: mix(seed, "prompts", caption))
        return [order[i % len(order)] for i in range(n)]

    @property
    def fingerprint(self) -> str:
        """Hash of names, captions, contents and how pictures are read.

        Above `DECODE_ALL` pictures a file's size stands for its content.
        """
        return self._fingerprint


def split(entries: Sequence[Entry], validation: float) -> dict[Split, list[Entry]]:
    """Part entries by a hash of their names; about the share `validation` is held out.

    Args:
        entries: at least two.
        validation: share in (0, 1).
    """
    draw = {entry.name: mix(SALT, entry.name) / 2**63 for entry in entries}
    ranked = sorted(draw.values())
    limit = min(max(validation, ranked[0]), ranked[-2])
    held_out = [entry for entry in entries if draw[entry.name] <= limit]
    kept = [entry for entry in entries if draw[entry.name] > limit]
    return {"train": kept, "validation": held_out}


def _existing(spec: str) -> Path:
    root = Path(os.path.abspath(Path(spec).expanduser()))
    if root.is_dir():
        return root
    parent = root.parent if root.parent.is_dir() else None
    raise UserError(
        f"{root}: " + ("this is a file" if root.exists() else "there is no such folder"),
        expected="a folder of pictures with captions",
        got=None if parent is None else f"{parent} has {_neighbours(parent, root.name)}",
        fix="check the path after --data; it is relative to where the command runs",
    )


def _neighbours(parent: Path, name: str) -> str:
    folders = [path.name for path in parent.iterdir() if path.is_dir() and not path.name.startswith(".")]
    close = difflib.get_close_matches(name, folders, n=3)
    return "folders called " + ", ".join(close) if close else f"{len(folders)} folders, none of such a name"


def _too_few(root: Path, count: int) -> UserError:
    return UserError(
        f"{root}: too few captioned pictures",
        expected="at least 2, one to train on and one to validate on",
        got=count,
        fix="add pictures with captions",
    )


def _reason(error: BaseException) -> str:
    """A short reason without the path, which the message has already."""
    text = " ".join(str(error).split())
    if "cannot identify image file" in text:
        return "not a picture that Pillow knows"
    return text[:120] or type(error).__name__


def _glance(place: int, entry: Entry) -> str:
    verify_header(entry.path)
    return str(entry.path.stat().st_size)


def _caught(check: Callable[[int, Entry], str]) -> Callable[[int, Entry], tuple[str, str | None]]:
    """`check` that gives back (what it gave, None) or ("", why the picture is unreadable)."""

    def caught(place: int, entry: Entry) -> tuple[str, str | None]:
        try:
            return check(place, entry), None
        except UNREADABLE as error:
            return "", _reason(error)

    return caught


def _fingerprint(config: FolderConfig, entries: Sequence[Entry], digests: Sequence[str]) -> str:
    reading = [config.size, config.background, config.validation, config.flip]
    rows = [[entry.name, digest, *entry.captions] for entry, digest in zip(entries, digests, strict=True)]
    return hashlib.blake2b(json.dumps([reading, rows]).encode(), digest_size=16).hexdigest()
