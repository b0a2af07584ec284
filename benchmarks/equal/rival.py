"""What a model of another package must do to take part."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from equal.task import Task, with_neighbours
from t2ikit.core.batch import Batch, TextEmbedding


class Rival(ABC):
    """One model of another package, at one learning rate.

    A subclass makes its `networks` in `build`; everything random follows torch's global seed.

    Args:
        task: what it is trained on.
        rate: the learning rate.
        toy: tiny networks, for a test.

    Attributes:
        name: of the row.
        packages: the import names that it needs.
        rates: the documented learning rate, and others to choose from.
        guidances: the documented guidance weight, and others to choose from; empty: it has none.
        steps: the documented sampling steps.
        documented: where settings come from, and what was changed.
    """

    name: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]
    rates: ClassVar[tuple[float, ...]]
    guidances: ClassVar[tuple[float, ...]] = ()
    steps: ClassVar[int] = 1
    documented: ClassVar[str]

    def __init__(self, task: Task, rate: float, toy: bool = False) -> None:
        self.task, self.rate, self.toy = task, rate, toy
        torch.manual_seed(task.seed)
        self.build()

    @abstractmethod
    def build(self) -> None:
        """Make networks and optimisers."""

    @abstractmethod
    def step(self, batch: Batch, done: float) -> None:
        """One optimiser step; `done` is the share of the minutes that has passed, in [0, 1)."""

    def finish(self) -> None:  # noqa: B027 - nothing to do is common
        """After the last step, before anything is sampled."""

    @property
    @abstractmethod
    def sampled(self) -> nn.Module:
        """What samples: the averaged weights where the package averages."""

    @property
    @abstractmethod
    def trained(self) -> Sequence[nn.Module]:
        """What is trained, generator first."""

    @abstractmethod
    def sample(self, captions: Sequence[str], text: TextEmbedding, guidance: float, steps: int) -> Tensor:
        """Images (N, 3, H, W) in [-1, 1], one of each caption.

        Args:
            captions: N of them.
            text: their embeddings.
            guidance: one of `guidances`; 1 where there is none.
            steps: of its own sampler, no more than `steps`.
        """

    def text(self, batch: Batch) -> TextEmbedding:
        """The embeddings of a batch's captions as this package gets them."""
        return with_neighbours(batch.condition.text)

    @property
    def parameters(self) -> int:
        """Those of the network that samples."""
        return sum(parameter.numel() for parameter in self.trained[0].parameters() if parameter.requires_grad)


def to_unit(images: Tensor) -> Tensor:
    """From [-1, 1] to [0, 1]."""
    return (images + 1) / 2


def from_unit(images: Tensor) -> Tensor:
    """From [0, 1] to [-1, 1]."""
    return images * 2 - 1
