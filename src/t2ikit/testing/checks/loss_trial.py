"""A loss and the player that it is checked in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from torch import Tensor, nn

from t2ikit.core.batch import Batch, Prediction
from t2ikit.core.interfaces import Critic, Generator
from t2ikit.core.rng import Draws
from t2ikit.core.step import WeightedLoss
from t2ikit.registry.specs import GRADIENTS, LossSpec
from t2ikit.testing.report import Trial
from t2ikit.testing.support import TEXT_WIDTH, Subject, require, seeded
from t2ikit.testing.toys import ToyCritic, ToyDenoiser, ToyGAN, toy_batch
from t2ikit.training.player import Player, make_players

SIZE = 16
Toy = type[ToyDenoiser] | type[ToyGAN]


class LossTrial(Trial):
    """A loss with toys for the rest of its player.

    Args:
        part: the loss.
        family: what the toy generator is called.
        toy: its class.
    """

    def __init__(self, part: Subject, family: str, toy: Toy) -> None:
        self.part, self.toy = part, toy
        self.title = f"{part.title} on {family}"
        self.batch = toy_batch(8, SIZE)

    @property
    def fails(self) -> str:
        """What is said where the loss raises something."""
        return f"{self.title} fails; if it lacks something, say so in `needs` of its spec"

    @cached_property
    def loss(self) -> Any:
        """The loss itself."""
        return self.part.build(SIZE)

    def player(
        self, loss: Any = None, change: Callable[[Generator], Generator] = lambda generator: generator
    ) -> Player:
        """The loss's player.

        Args:
            loss: instead of the loss itself.
            change: what is made of the toy generator.
        """
        spec: LossSpec = self.part.entry.spec
        with seeded(1):
            generator: Generator = self.toy(TEXT_WIDTH, SIZE)
            judged = spec.player == "critic" or {"critic", *GRADIENTS} & spec.needs
            critics: Mapping[str, Critic] = {"main": ToyCritic(TEXT_WIDTH)} if judged else {}
        watched = _Watched(self.loss if loss is None else loss, self.title)
        weighted = WeightedLoss(watched, spec.player, needs=frozenset(spec.needs))
        (player,) = make_players(change(generator), critics, {"loss": weighted}, seed=0)
        player.zero_grad(set_to_none=True)
        return player

    def value(self, player: Player, batch: Batch | None = None) -> Tensor:
        """The loss of a batch, a scalar."""
        return player(self.batch if batch is None else batch, 0, ["loss"])["loss"]


class _Watched(nn.Module):
    """A loss that is looked at: what it gives must be a scalar."""

    def __init__(self, loss: Any, title: str) -> None:
        super().__init__()
        self.loss, self.title = loss, title

    def forward(self, step: Any) -> Tensor:
        value = self.loss(step)
        scalar = isinstance(value, Tensor) and value.dim() == 0
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        require(scalar, f"{self.title} must give a scalar tensor, gave {shape}")
        return value


class Changed(Generator):
    """A generator whose prediction is changed by a function of it."""

    def __init__(self, inner: Generator, change: Callable[[Prediction], Prediction]) -> None:
        super().__init__()
        self.inner, self.change = inner, change

    def forward(self, batch: Batch, draws: Draws) -> Prediction:
        """The changed prediction."""
        return self.change(self.inner(batch, draws))
