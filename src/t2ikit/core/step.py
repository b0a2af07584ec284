"""What a loss sees of one training step, and a loss with its weight."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor

from t2ikit.core.batch import Batch, Prediction
from t2ikit.core.interfaces import Critic
from t2ikit.core.rng import Draws
from t2ikit.core.tensors import HostValueRead

Which = Literal["real", "fake"]
Text = Literal["own", "wrong", "pool"]


class Step:
    """One player's view of one micro-batch; passed to every loss of that player.

    A critic's trunk runs at most once for each set of images, and its text tower once for each text,
    however many losses ask.

    Attributes:
        batch: the micro-batch.
        prediction: the generator's; without gradient when the critic plays.
        critics: those that judge images, by name.
        parts: everything that the critic player trains, by name.
        player: "generator" or "critic".
        draws: randomness of this step; `draws.named(...)` gives a stream of one's own.
        real, fake: levels (B, 3, h, w), coarse to fine; `fake` is detached when the critic plays.
    """

    def __init__(
        self,
        batch: Batch,
        prediction: Prediction,
        critics: Mapping[str, Critic],
        player: str,
        draws: Draws,
        number: int | None,
        *,
        real_grad: bool = False,
        fake_grad: bool = False,
    ) -> None:
        self.batch, self.prediction, self.parts = batch, prediction, critics
        self.critics = {name: critic for name, critic in critics.items() if critic.gives_logits}
        self.player, self.draws, self._number = player, draws, number
        real = batch.images if prediction.real is None else prediction.real
        self.real = [resize_level(real, level.shape[-2:]) for level in prediction.images]
        if real_grad:
            self.real = [level.detach().requires_grad_(True) for level in self.real]
        generates = player == "generator"
        self.fake = prediction.images if generates else [level.detach() for level in prediction.images]
        if fake_grad and not generates:
            self.fake = [level.requires_grad_(True) for level in self.fake]
        self._features: dict[tuple[Which, str], Any] = {}
        self._texts: dict[tuple[Text, str], Any] = {}
        self._logits: dict[tuple[Which, Text, str], list[Tensor]] = {}

    @property
    def number(self) -> int:
        """The step's number, from 0.

        Raises:
            HostValueRead: in a step that is compiled or captured, which would go on with this number.
        """
        if self._number is None:
            raise HostValueRead("step.number")
        return self._number

    def features(self, which: Which, critic: str) -> Any:
        """The critic's features of the real or the fake images, computed once."""
        key = (which, critic)
        if key not in self._features:
            levels = self.real if which == "real" else self.fake
            self._features[key] = self.critics[critic].features(levels, self.draws.named(f"{critic}/{which}"))
        return self._features[key]

    def text(self, text: Text, critic: str) -> Any:
        """What the critic reads in the samples' own texts, the wrong ones or the pool, computed once."""
        batch = self.batch
        if text == "own" and len(batch) == len(batch.all_captions):  # the pool is the samples' own texts
            text = "pool"
        key = (text, critic)
        if key not in self._texts:
            texts = {"own": batch.condition.text, "wrong": batch.wrong, "pool": batch.all_captions_text}
            self._texts[key] = self.critics[critic].read(texts[text])
        return self._texts[key]

    def logits(self, which: Which, text: Text, critic: str) -> list[Tensor]:
        """Logits, each (B,), of real or fake images beside their own or a wrong text."""
        key = (which, text, critic)
        if key not in self._logits:
            trunk = self.features(which, critic)
            self._logits[key] = self.critics[critic].heads(trunk, self.text(text, critic))
        return self._logits[key]


Loss = Callable[[Step], Tensor]
"""What a loss is: one training step to a scalar."""


@dataclass(frozen=True)
class WeightedLoss:
    """A built loss with what the recipe says of it.

    Attributes:
        loss: (step) -> scalar.
        player: "generator" or "critic".
        weight: its factor in the player's sum.
        every: it is computed every so many steps, `every` times as strongly.
        needs: names out of `t2ikit.registry.specs.NEEDS`.
    """

    loss: Loss
    player: str
    weight: float = 1.0
    every: int = 1
    needs: frozenset[str] = frozenset()

    def due(self, step: int) -> bool:
        """Whether the loss is computed at this step."""
        return step % self.every == 0

    @property
    def strength(self) -> float:
        """The factor when it is computed: a lazy loss makes up for the steps it misses."""
        return self.weight * self.every


def resize_level(images: Tensor, size: tuple[int, int] | Any) -> Tensor:
    """Shrink images (B, 3, H, W) to a level of a pyramid by averaging (area)."""
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    return F.interpolate(images, size=tuple(size), mode="area")
