"""Embeddings on disk: each caption is encoded once and kept in safetensors files that are mapped.

A folder belongs to one encoder. Each call of `add` writes another part, which appears whole or not at all;
several processes may read at once and write in turn. Only real tokens are kept.

Letters: n captions in a part, T tokens of all of them, D width.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from t2ikit.errors import UserError


@dataclass(frozen=True)
class Embedded:
    """One caption's embedding: tokens (L, D), pooled (D,)."""

    tokens: Tensor
    pooled: Tensor


@dataclass(frozen=True)
class _Part:
    tokens: Tensor  # (T, D)
    ends: list[int]  # n: where each caption's tokens end
    pooled: Tensor  # (n, D)

    def __getitem__(self, row: int) -> Embedded:
        start = self.ends[row - 1] if row else 0
        return Embedded(self.tokens[start : self.ends[row]], self.pooled[row])


class EmbeddingCache:
    """Captions to embeddings.

    Args:
        root: the folder that holds those of all encoders.
        fingerprint: of the encoder and everything else that its embeddings depend on.

    Attributes:
        folder: this encoder's.
        damaged: names of files that were renamed because they could not be read or had changed.
    """

    def __init__(self, root: Path, fingerprint: str) -> None:
        self.fingerprint = fingerprint
        self.folder = root / hashlib.blake2b(fingerprint.encode(), digest_size=12).hexdigest()
        self.damaged: list[str] = []
        self._places: dict[str, tuple[_Part, int]] = {}
        self._seen: set[str] = set()
        self.refresh()

    def __contains__(self, caption: str) -> bool:
        return caption in self._places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, caption: str) -> Embedded:
        part, row = self._places[caption]
        return part[row]

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(path.stat().st_size for path in self.folder.glob("*.safetensors"))

    def refresh(self) -> None:
        """Read the parts that other processes have written since; damaged ones are renamed."""
        for path in sorted(self.folder.glob("*.safetensors")):
            if path.name in self._seen:
                continue
            try:
                captions, part = _read(path, self.fingerprint)
            except (OSError, SafetensorError, KeyError, TypeError, ValueError):
                self.damaged.append(path.name)
                path.replace(path.with_suffix(".damaged"))
                continue
            self._seen.add(path.name)
            for row, caption in enumerate(captions):
                self._places.setdefault(caption, (part, row))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Lock the folder: one process encodes, the others wait and then find its embeddings.

        Raises:
            UserError: the folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / "lock"):
                self.refresh()
                yield
        except OSError as error:
            raise UserError(
                f"{self.folder}: embeddings cannot be kept there",
                expected="a folder that can be written, with room",
                got=error.strerror or error,
                fix="name another with --set text.cache=FOLDER or the variable T2IKIT_CACHE",
            ) from error

    def add(self, captions: Sequence[str], embedded: Sequence[Embedded]) -> None:
        """Write one part; only within `writing`."""
        lengths = torch.tensor([len(one.tokens) for one in embedded])
        tensors = {
            "tokens": torch.cat([one.tokens for one in embedded]).contiguous(),
            "ends": lengths.cumsum(0),
            "pooled": torch.stack([one.pooled for one in embedded]),
        }
        facts = {
            "captions": json.dumps(list(captions)),
            "fingerprint": self.fingerprint,
            "sum": _checksum(tensors),
        }
        name = f"{len(list(self.folder.iterdir())):06d}-{os.getpid()}.safetensors"
        partial = self.folder / f"{name}.partial"
        save_file(tensors, partial, metadata=facts)
        partial.replace(self.folder / name)
        self.refresh()


def _read(path: Path, fingerprint: str) -> tuple[list[str], _Part]:
    with safe_open(path, framework="pt") as file:
        facts = file.metadata()
        tensors = {name: file.get_tensor(name) for name in ("tokens", "ends", "pooled")}
    captions = json.loads(facts["captions"])
    whole = len(captions) == len(tensors["ends"]) == len(tensors["pooled"])
    if not whole or facts["fingerprint"] != fingerprint or facts["sum"] != _checksum(tensors):
        raise ValueError("not what was written")
    return captions, _Part(tensors["tokens"], tensors["ends"].tolist(), tensors["pooled"])


def _checksum(tensors: dict[str, Tensor]) -> str:
    total = 0
    for name in ("tokens", "ends", "pooled"):
        total = zlib.crc32(tensors[name].contiguous().view(torch.uint8).numpy().data, total)
    return f"{total:08x}"
