"""Frozen networks whose features compare sets of images.

Letters: N images, D features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from t2ikit.core.metric import Download
from t2ikit.utils.images import from_uint8, to_uint8


@dataclass(frozen=True)
class Features:
    """A frozen network.

    Attributes:
        name: for provenance, with the version of its weights and how it resizes, as far as the name does
            not say.
        extract: images (N, 3, H, W) uint8 to features (N, D) float32.
    """

    name: str
    extract: Callable[[Tensor], Tensor]

    def __call__(self, images: Tensor, batch: int) -> Tensor:
        """Images (N, 3, H, W) in [-1, 1], `batch` at a time, to features (N, D) on the CPU."""
        with torch.no_grad():
            return torch.cat([self.extract(part).float().cpu() for part in to_uint8(images).split(batch)])


class Network:
    """A frozen network that is opened when it is first needed."""

    def open(self) -> Features:
        """The network with its weights.

        Raises:
            NotMeasured: it cannot be had.
        """
        raise NotImplementedError

    def dependencies(self) -> dict[str, str]:
        """What its numbers depend on."""
        return {}

    def downloads(self) -> list[Download]:
        """What it would have to fetch.

        Raises:
            NotMeasured: it needs a package that is not installed.
        """
        return []

    def fetch(self) -> None:
        """Fetch that.

        Raises:
            NotMeasured: it cannot be had.
        """


class ReaderNetwork(Network):
    """What the reader of `prompt-accuracy` sees before it decides: 224 features, for `creatures` alone."""

    def open(self) -> Features:
        """The shipped network."""
        from t2ikit.metrics.creature_reader import READER_VERSION, SIDE, CreatureReader, to_reader

        net = CreatureReader().net
        return Features(
            f"creature reader v{READER_VERSION}, antialiased bilinear to {SIDE} px",
            lambda images: net.features(to_reader(from_uint8(images))),
        )

    def dependencies(self) -> dict[str, str]:
        """The reader's version."""
        from t2ikit.metrics.creature_reader import READER_VERSION

        return {"creature reader": str(READER_VERSION)}
