"""Drawings on disk, each drawn once for this run and later ones.

A `.npy` file holds a row for each image, and a `.marks` file a byte for each row, written after it: 0 while
the row is empty, then a checksum, so that a row that was never written to its end is drawn again. Rows that
are drawn twice are the same, so several processes may write at once. A `.json` file, which appears last, says
that both are there. Where nothing can be written, nothing is kept.
"""

from __future__ import annotations

import errno
import hashlib
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from numpy.lib.format import open_memmap
from torch import Tensor

from t2ikit.utils.files import cache_folder, write_json

VERSION = 1
"""Raise it whenever the files change."""
MOST_BYTES = 4 << 30
"""Of all images of a dataset; of a larger one, none are kept."""


class DrawnImages:
    """Images that are kept once they were drawn.

    Args:
        identity: of everything the images depend on.
        count: how many images there are.
        size: height and width, pixels.
    """

    def __init__(self, identity: str, count: int, size: int) -> None:
        name = hashlib.blake2b(f"drawn {VERSION} {identity}".encode(), digest_size=16).hexdigest()
        self.path: Path = cache_folder() / "images" / f"{name}.npy"
        self.identity, self.shape = identity, (count, 3, size, size)
        self.closed = 3 * size * size * count > MOST_BYTES
        self._files: tuple[np.memmap, np.memmap] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_files": None}  # a worker process maps the files anew

    @property
    def marks(self) -> Path:
        """The file of the checksums."""
        return self.path.with_suffix(".marks")

    def read(self, row: int) -> Tensor | None:
        """Image `row`, (3, size, size) uint8, if it is kept."""
        files = self._open()
        if files is None or not (mark := int(files[1][row])):
            return None
        image = np.array(files[0][row])
        return torch.from_numpy(image) if _mark(image.tobytes()) == mark else None

    def write(self, row: int, image: Tensor) -> None:
        """Keep image `row`, (3, size, size) uint8, if it can be kept."""
        files = self._open()
        if files is None:
            return
        content = image.contiguous().numpy().tobytes()
        try:  # through the files, not their maps: a full disk is then an error, and no signal
            _put(self.path, files[0].offset + row * len(content), content)
            _put(self.marks, row, bytes([_mark(content)]))
        except OSError:
            self.closed = True

    def _open(self) -> tuple[np.memmap, np.memmap] | None:
        if self._files is None and not self.closed:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with FileLock(self.path.with_suffix(".lock")):
                    if not self._whole():
                        self._create()
                self._files = self._maps()
            except (OSError, ValueError):
                self.closed = True
        return None if self.closed else self._files

    def _maps(self) -> tuple[np.memmap, np.memmap]:
        pixels: np.memmap = open_memmap(self.path, mode="r")
        return pixels, np.memmap(self.marks, np.uint8, "r", shape=self.shape[:1])

    def _whole(self) -> bool:
        """Whether the files are there and as long as they should be."""
        if not self.path.with_suffix(".json").exists():
            return False
        try:
            pixels, _ = self._maps()
        except (OSError, ValueError):
            return False
        return pixels.shape == self.shape and pixels.dtype == np.uint8

    def _create(self) -> None:
        """Make empty files, which take no room on disk before they are filled; the lock is held."""
        self.path.with_suffix(".json").unlink(missing_ok=True)
        partial = self.path.with_suffix(".partial")
        partial.write_bytes(bytes(self.shape[0]))
        partial.replace(self.marks)
        open_memmap(partial, "w+", np.uint8, self.shape).flush()
        partial.replace(self.path)  # not in place: another process may have mapped what was there
        write_json(self.path.with_suffix(".json"), {"drawn": self.identity, "shape": self.shape})


def _mark(content: bytes) -> int:
    return 1 + zlib.crc32(content) % 255


def _put(path: Path, offset: int, content: bytes) -> None:
    file = os.open(path, os.O_WRONLY | getattr(os, "O_BINARY", 0))
    try:
        os.lseek(file, offset, os.SEEK_SET)
        if os.write(file, content) < len(content):
            raise OSError(errno.ENOSPC, "the disk is full")
    finally:
        os.close(file)
