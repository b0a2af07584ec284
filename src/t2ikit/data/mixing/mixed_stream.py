"""A mix with streams in it: each sample's part is drawn by the weights, a pure function of seed and place."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from t2ikit.core.batch import Record
from t2ikit.core.interfaces import Dataset, Split, StreamingDataset
from t2ikit.core.rng import derive_seed
from t2ikit.data.feed.random_crops import training_record
from t2ikit.data.mixing.mixed import Mix, of_part
from t2ikit.errors import UserError

BLOCK = 4096
"""Samples whose parts are drawn at once."""


class MixedStream(Mix, StreamingDataset):
    """Datasets of which some are streams, as a stream.

    Args:
        parts, names: the datasets and their names.
        weights: how often each is shown; None: all alike, for a stream's number of images is not known.
    """

    def __init__(
        self, parts: Sequence[Dataset], weights: Sequence[float] | None, names: Sequence[str]
    ) -> None:
        super().__init__(parts, weights or [1.0] * len(parts), names, given=weights is not None)

    def size(self, split: Split) -> int:
        """Number of held-out images.

        Raises:
            UserError: the split is "train".
        """
        if split == "train":
            raise UserError(
                "the number of training images of a mix with a stream is not known",
                expected="datasets that were looked at whole",
                got=", ".join(self.names),
                fix="leave data.stream out where the data is on this machine",
            )
        return super().size(split)

    def records(self, seed: int, rank: int, world: int, start: int) -> Iterator[Record]:
        """One process's samples from number `start` on, without end."""
        block, left = divmod(start, BLOCK)
        done = [0] * len(self.parts)
        for earlier in range(block):
            _count(done, self._numbers(seed, rank, earlier))
        numbers = self._numbers(seed, rank, block)
        _count(done, numbers[:left])
        streams = [
            _records(part, derive_seed(seed, "part", number), rank, world, done[number])
            for number, part in enumerate(self.parts)
        ]
        while True:
            for number in numbers[left:].tolist():
                yield of_part(number, next(streams[number]))
            block, left = block + 1, 0
            numbers = self._numbers(seed, rank, block)

    def _numbers(self, seed: int, rank: int, block: int) -> Tensor:
        """The parts of a block of samples, (BLOCK,) long."""
        generator = torch.Generator().manual_seed(derive_seed(seed, "mix", rank, block))
        ends = torch.from_numpy(self.shares).cumsum(0)[:-1]
        return torch.searchsorted(
            ends, torch.rand(BLOCK, generator=generator, dtype=torch.float64), right=True
        )


def _count(done: list[int], numbers: Tensor) -> None:
    for number, count in enumerate(numbers.bincount(minlength=len(done)).tolist()):
        done[number] += count


def _records(part: Dataset, seed: int, rank: int, world: int, start: int) -> Iterator[Record]:
    """One process's samples of a part, without end; of one read by index, in a new order each epoch."""
    if isinstance(part, StreamingDataset):
        yield from part.records(seed, rank, world, start)
    count, place = part.size("train"), start * world + rank
    while True:
        epoch, index = divmod(place, count)
        number = derive_seed(seed, "data crop", place)
        yield training_record(part, "train", int(_order(seed, epoch, count)[index]), number)
        place += world


@functools.lru_cache(maxsize=8)
def _order(seed: int, epoch: int, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(derive_seed(seed, "order", epoch))
    return torch.randperm(count, generator=generator)
