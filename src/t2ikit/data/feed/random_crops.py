"""Random crops of images that are not square: training sees another place of an image each time."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from t2ikit.core.batch import Record
from t2ikit.core.interfaces import Dataset, Split


class RandomCrops(ABC):
    """A dataset whose records show the centre of each image, and which can crop elsewhere for training."""

    @property
    @abstractmethod
    def crops_at_random(self) -> bool:
        """Whether training shows another part of an image each time."""

    @abstractmethod
    def cropped(self, split: Split, index: int, number: int) -> Record:
        """Image `index`, cropped where `number`, 0 or more, says."""


def training_record(dataset: Dataset, split: Split, index: int, number: int) -> Record:
    """Image `index` as training shows it: cropped where `number` says, or as every dataset gives it."""
    if isinstance(dataset, RandomCrops) and dataset.crops_at_random:
        return dataset.cropped(split, index, number)
    return dataset.record(split, index)


def square(image: Tensor, number: int | None = None) -> Tensor:
    """A square of an image (C, H, W), as large as it can be.

    Args:
        image: to be cropped.
        number: 0 or more; all numbers together show each place equally often. None: the centre.
    """
    height, width = image.shape[-2:]
    side, room = min(height, width), abs(height - width)
    start = room // 2 if number is None else number % (room + 1)
    return image.narrow(-1 if width > height else -2, start, side)
