"""Which image each sample of a training shows: a pure function of the seed and the sample's key.

Nothing is remembered from step to step, so a resumed run, or another number of processes, sees the same.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from t2ikit.core.interfaces import Dataset, Split
from t2ikit.core.rng import derive_seed
from t2ikit.core.shapes import Shape

GOLDEN = 0x9E3779B97F4A7C15
"""2 ** 64 times the golden ratio less 1."""


def visiting_order(dataset: Dataset, split: Split, seed: int, batch: int) -> Callable[[int], int]:
    """The function from a sample's key to the index of its image.

    Training visits images in a new random order every epoch, validation in their own order.
    """
    if split == "validation":
        return Unchanged(dataset.size(split))
    shapes = dataset.shapes(split)
    return Shuffled(dataset.size(split), seed) if shapes is None else BucketOrder(shapes, seed, batch)


class Unchanged:
    """`count` images in their own order, again and again."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __call__(self, key: int) -> int:
        """The index of the image of a sample."""
        return key % self.count


class Shuffled:
    """`count` images in a new random order every epoch."""

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed = count, seed

    def __call__(self, key: int) -> int:
        """The index of the image of a sample."""
        epoch, place = divmod(key, self.count)
        return int(_permutation(self.seed, epoch, self.count)[place])


class BucketOrder:
    """Images of several shapes, each step's of one.

    Whose turn it is at step t says the fraction of t times the golden ratio, which falls into the share of
    each bucket as often as its size demands, but for a few steps however long the training is (a Kronecker
    sequence; Kuipers and Niederreiter, Uniform Distribution of Sequences, 1974). Within a bucket all images
    are shown in a new random order before any is shown again, across batches: none is left out, and none
    fills a batch up.

    Args:
        shapes: of each image.
        seed: of the run.
        batch: images a step, over all processes.
    """

    def __init__(self, shapes: Sequence[Shape], seed: int, batch: int) -> None:
        self.batch = batch
        members: dict[Shape, list[int]] = {}
        for index, shape in enumerate(shapes):
            members.setdefault(shape, []).append(index)
        self.members = [torch.tensor(members[shape]) for shape in sorted(members)]
        self.orders = [
            Shuffled(len(own), derive_seed(seed, "bucket", *shape))
            for shape, own in zip(sorted(members), self.members, strict=True)
        ]
        ends = np.cumsum([len(own) for own in self.members]).tolist()
        self.limits = np.array([(end << 64) // len(shapes) for end in ends[:-1]], dtype=np.uint64)
        self.offset = np.uint64(2 * derive_seed(seed, "buckets"))
        self.turns = self.before = np.zeros(0, dtype=np.int64)

    def __call__(self, key: int) -> int:
        """The index of the image of a sample."""
        step, place = divmod(key, self.batch)
        bucket, before = self.turn(step)
        return int(self.members[bucket][self.orders[bucket](before * self.batch + place)])

    def turn(self, step: int) -> tuple[int, int]:
        """The bucket of a step, and how many steps before it were of that one."""
        if step >= len(self.turns):
            steps = np.arange(2 * step + 1024, dtype=np.uint64)
            places = steps * np.uint64(GOLDEN) + self.offset  # modulo 2 ** 64
            self.turns = np.searchsorted(self.limits, places, side="right")
            self.before = np.zeros(len(steps), dtype=np.int64)
            for bucket in range(len(self.members)):
                own = self.turns == bucket
                self.before[own] = np.arange(own.sum())
        return int(self.turns[step]), int(self.before[step])


@functools.lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(derive_seed(seed, "order", epoch))
    return torch.randperm(count, generator=generator)
