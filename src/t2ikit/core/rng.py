"""Randomness that belongs to the sample: the same on any number of processes, in any micro-batch.

A number is a function of (key of the sample, salt, names, number of the draw, place). `philox` gives the
bits, the same on every device; normal numbers are the same up to rounding. Runs of earlier versions keep the
numbers of torch's generators. Numbers that are spread evenly over samples are multiples of the golden ratio
(Kronecker's sequence).
"""

from __future__ import annotations

import hashlib
import math
from typing import Literal

import torch
from torch import Tensor

from t2ikit.core.philox import MASK, philox

Numbers = Literal["counter", "torch"]
GOLDEN = 2654435769
"""2^32 over the golden ratio."""


def derive_seed(*values: int | str) -> int:
    """Hash integers and strings to one 63-bit seed, the same on every machine."""
    return _hash(*values) >> 1


def _hash(*values: int | str) -> int:
    digest = hashlib.blake2b(repr(values).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


@torch.compiler.assume_constant_result
def _stream(salt: int | str, path: tuple[str, ...]) -> tuple[int, int]:
    """The key of a stream, two words."""
    key = _hash("stream", salt, *path)
    return key & MASK, key >> 32


class Draws:
    """Random numbers drawn sample by sample, so that rank, micro-batch and resume change nothing.

    Args:
        keys: (B,) long, one for each sample.
        salt: what tells this stream from others of the same samples.
        device: where the numbers are put; None: where the keys are.
        numbers: "counter": made where they are put (on the CPU for mps) by a counter-based generator, without
            reading the keys; "torch": by one CPU generator of torch a sample, as runs of earlier versions.

    Example:
        >>> noise = Draws(torch.tensor([7, 8, 9]), "noise").randn(3, 4, 4)
        >>> noise.shape
        torch.Size([3, 3, 4, 4])
        >>> alone = Draws(torch.tensor([8]), "noise").randn(3, 4, 4)
        >>> torch.equal(alone[0], noise[1])  # a number belongs to its sample
        True
    """

    def __init__(
        self,
        keys: Tensor,
        salt: int | str,
        device: torch.device | str | None = None,
        *,
        path: tuple[str, ...] = (),
        numbers: Numbers = "counter",
    ) -> None:
        self.keys, self.salt, self.path, self.numbers = keys, salt, path, numbers
        self.device = keys.device if device is None else torch.device(device)
        self._drawn = 0
        self._generators: list[torch.Generator] | None = None

    def named(self, name: str) -> Draws:
        """An independent stream of the same samples: what one part draws does not move another's."""
        return Draws(self.keys, self.salt, self.device, path=(*self.path, name), numbers=self.numbers)

    def __getitem__(self, index: slice) -> Draws:
        return Draws(self.keys[index], self.salt, self.device, path=self.path, numbers=self.numbers)

    @property
    def generators(self) -> list[torch.Generator]:
        """A generator of torch for each sample, on the CPU, for libraries that take those.

        Their state moves on with every number that is drawn from them; with `numbers="torch"`, that is every
        draw.
        """
        if self._generators is None:
            seeds = [derive_seed(key, self.salt, *self.path) for key in self.keys.tolist()]
            self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        return self._generators

    def randn(self, *shape: int) -> Tensor:
        """Standard normal numbers (B, *shape)."""
        if self.numbers == "torch":
            return torch.stack([torch.randn(shape, generator=g) for g in self.generators]).to(self.device)
        return self._placed(normal(self._words(math.prod(shape))), shape)

    def rand(self, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1), (B, *shape)."""
        if self.numbers == "torch":
            return torch.stack([torch.rand(shape, generator=g) for g in self.generators]).to(self.device)
        return self._placed((self._words(math.prod(shape)) >> 8).float() * 2**-24, shape)

    def spread(self) -> Tensor:
        """Uniform numbers in [0, 1), (B,), spread evenly over samples whose keys follow one another.

        So do those of a training step, on all processes together, and of one step and the next: a mean over
        them has less variance than with `rand`. Each is a function of the sample's key, the salt and the
        names alone; a second call gives the same numbers.
        """
        keys = self.keys.to("cpu" if self.device.type == "mps" else self.device)
        words = (keys * GOLDEN + _stream(self.salt, self.path)[0]) & MASK
        return ((words >> 8).float() * 2**-24).to(self.device)

    def randint(self, high: int, *shape: int) -> Tensor:
        """Integers in [0, high), (B, *shape)."""
        if self.numbers == "torch":
            return torch.stack([torch.randint(high, shape, generator=g) for g in self.generators]).to(
                self.device
            )
        if not 0 < high <= 2**31:
            raise ValueError(f"high must be from 1 to 2^31, got {high}")
        return self._placed((self._words(math.prod(shape)) * high) >> 32, shape)

    def _words(self, count: int) -> Tensor:
        """Words (4, B, N) with 4 N >= count, of the next draw."""
        keys = self.keys.to("cpu" if self.device.type == "mps" else self.device)[:, None]
        block = torch.arange(-(-count // 4), device=keys.device)
        self._drawn += 1
        return philox(block, self._drawn - 1, keys, keys >> 32, _stream(self.salt, self.path))

    def _placed(self, numbers: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Numbers (4, B, N) as (B, *shape)."""
        flat = numbers.transpose(0, 1).flatten(1)[:, : math.prod(shape)]
        return flat.reshape(len(self.keys), *shape).to(self.device)


def normal(words: Tensor) -> Tensor:
    """Standard normal numbers, float32, of words (4, ...) in [0, 2^32), by the transform of Box and Muller.

    Two words give two numbers: the first a radius, from (w + 1) / 2^32 in (0, 1], the other an angle.
    """
    unit = 2**-32
    numbers = words.float()
    radius = numbers[:2].add_(1).mul_(unit).log_().mul_(-2).sqrt_()
    angle = numbers[2:].mul_(2 * math.pi * unit)
    return torch.cat([radius * angle.cos(), radius * angle.sin()])
