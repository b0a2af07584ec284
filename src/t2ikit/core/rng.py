"""Randomness that belongs to the sample: the same on any number of processes, in any micro-batch."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def derive_seed(*values: int | str) -> int:
    """Hash integers and strings to one 63-bit seed, the same on every machine."""
    digest = hashlib.blake2b(repr(values).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


class Draws:
    """Random numbers drawn sample by sample, so that rank, micro-batch and resume change nothing.

    Args:
        keys: (B,) long, one for each sample.
        salt: what tells this stream from others of the same samples.
        device: where the numbers are put; they are always drawn on the CPU.
    """

    def __init__(
        self, keys: Tensor, salt: int | str, device: torch.device | str = "cpu", *, path: tuple[str, ...] = ()
    ) -> None:
        self.keys, self.salt, self.device, self.path = keys, salt, device, path
        self._generators: list[torch.Generator] | None = None

    def named(self, name: str) -> Draws:
        """An independent stream of the same samples: what one part draws does not move another's."""
        return Draws(self.keys, self.salt, self.device, path=(*self.path, name))

    def __getitem__(self, index: slice) -> Draws:
        return Draws(self.keys[index], self.salt, self.device, path=self.path)

    @property
    def generators(self) -> list[torch.Generator]:
        """One generator a sample; their state moves on with every draw."""
        if self._generators is None:
            seeds = [derive_seed(int(key), self.salt, *self.path) for key in self.keys]
            self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        return self._generators

    def randn(self, *shape: int) -> Tensor:
        """Standard normal numbers (B, *shape)."""
        return torch.stack([torch.randn(shape, generator=g) for g in self.generators]).to(self.device)

    def rand(self, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1), (B, *shape)."""
        return torch.stack([torch.rand(shape, generator=g) for g in self.generators]).to(self.device)

    def randint(self, high: int, *shape: int) -> Tensor:
        """Integers in [0, high), (B, *shape)."""
        return torch.stack([torch.randint(high, shape, generator=g) for g in self.generators]).to(self.device)
