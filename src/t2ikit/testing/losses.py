"""The check of losses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from t2ikit.core.batch import Batch, Prediction
from t2ikit.core.interfaces import Critic, Generator
from t2ikit.core.rng import Draws
from t2ikit.core.step import WeightedLoss
from t2ikit.registry.registry import Registry
from t2ikit.registry.specs import GRADIENTS, LossSpec
from t2ikit.testing.support import TEXT_WIDTH, Subject, close, explained, finite, require, seeded, subject
from t2ikit.testing.toys import ToyCritic, ToyDenoiser, ToyGAN, toy_batch
from t2ikit.training.player import Player, make_players

SIZE = 16
CUTS = (slice(0, 3), slice(3, 8))


def check_loss(name: str, registry: Registry | None = None, /, **config: Any) -> None:
    """Check a loss on a toy denoiser and, unless its needs forbid it, on a toy GAN.

    It must give a finite scalar that is differentiable with respect to its player and its own parameters;
    repeat (randomness comes from `step.draws` alone); be a plain mean over the batch, so that the mean over
    micro-batches equals the whole to 1e-5; work under bf16 autocast; and, if it looks at the generator's
    images, leave those alone whose `image_weight` is 0.

    Args:
        name: of the loss, as in a recipe.
        registry: where it is looked up; None takes the installed plugins.
        **config: its options.

    Raises:
        AssertionError: something of that does not hold.
    """
    part = subject("losses", name, registry, config)
    families: dict[str, type[ToyDenoiser] | type[ToyGAN]] = {"a denoiser": ToyDenoiser}
    if not {"target", "snr"} & part.entry.spec.needs:
        families["a one-step generator"] = ToyGAN
    for family, toy in families.items():
        title = f"{part.title} on {family}"
        with explained(f"{title} fails; if it lacks something, say so in `needs` of its spec"):
            _check_value(title, *_player(part, toy))
            _check_precision(title, *_player(part, toy))
            if part.entry.spec.player == "generator" and not {"target", "snr"} & part.entry.spec.needs:
                _check_weight(title, _player(part, toy)[0])


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


def _player(part: Subject, toy: type[ToyDenoiser] | type[ToyGAN]) -> tuple[Player, Batch]:
    """The loss's player with toys for the rest, and a batch."""
    spec: LossSpec = part.entry.spec
    loss = part.build(SIZE)
    with seeded(1):
        generator: Generator = toy(TEXT_WIDTH, SIZE)
        names = ("main",) if spec.player == "critic" or {"critic", *GRADIENTS} & spec.needs else ()
        critics: Mapping[str, Critic] = {name: ToyCritic(TEXT_WIDTH) for name in names}
    weighted = WeightedLoss(_Watched(loss, part.title), spec.player, needs=frozenset(spec.needs))
    (player,) = make_players(generator, critics, {"loss": weighted}, seed=0)
    return player, toy_batch(8, SIZE)


def _value(player: Player, batch: Batch) -> Tensor:
    return player(batch, 0, ["loss"])["loss"]


def _check_value(title: str, player: Player, batch: Batch) -> None:
    value = _value(player, batch)
    require(finite(value), f"{title} is {float(value.detach())}, must be finite")
    _check_gradients(title, player, value)
    with seeded(2):
        again = _value(player, batch)
    require(
        close(again, value, 1e-6),
        f"{title} gave {float(value.detach()):.6g} and then {float(again.detach()):.6g} for the same batch: "
        "all randomness must come from step.draws, and a loss keeps no state",
    )
    parts = sum(_value(player, batch[cut]) * (cut.stop - cut.start) for cut in CUTS) / len(batch)
    require(
        close(torch.as_tensor(parts), value, 1e-5),
        f"{title} is {float(value.detach()):.6g} on the whole batch but "
        f"{float(torch.as_tensor(parts).detach()):.6g} as the mean over micro-batches: "
        "it must be a plain mean over B",
    )


def _check_gradients(title: str, player: Player, value: Tensor) -> None:
    require(value.requires_grad, f"{title} does not depend on the {player.name}: it has no gradient")
    value.backward()
    trained = [p.grad for p in player.trained.parameters() if p.grad is not None]
    reaches = any(bool(gradient.any()) for gradient in trained)
    require(reaches, f"{title} sends no gradient to the {player.name}")
    for name, parameter in player.losses.named_parameters():
        if parameter.requires_grad:
            label = name.removeprefix("loss.loss.")
            require(parameter.grad is not None, f"{title}: its parameter {label} receives no gradient")
    gradients = [p.grad for p in player.parameters() if p.grad is not None]
    require(finite(*gradients), f"{title} has a gradient that is not finite")


def _check_precision(title: str, player: Player, batch: Batch) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        value = _value(player, batch)
    require(finite(value), f"{title} is {float(value.detach())} under bf16 autocast, must be finite")
    value.backward()
    gradients = [p.grad for p in player.parameters() if p.grad is not None]
    require(finite(*gradients), f"{title} has a gradient that is not finite under bf16 autocast")


class _Untrusted(Generator):
    """A generator whose images are leaves of the graph and not to be trusted."""

    def __init__(self, inner: Generator) -> None:
        super().__init__()
        self.inner = inner
        self.images: list[Tensor] = []

    def forward(self, batch: Batch, draws: Draws) -> Prediction:
        prediction = self.inner(batch, draws)
        self.images = [level.detach().requires_grad_(True) for level in prediction.images]
        weight = torch.zeros_like(prediction.image_weight)
        return replace(prediction, images=self.images, image_weight=weight)


def _check_weight(title: str, player: Player) -> None:
    generator, critics = player._cast
    untrusted = _Untrusted(generator)
    (player,) = make_players(untrusted, critics, player.weighted, seed=0)
    value = _value(player, toy_batch(8, SIZE))
    gradients = torch.autograd.grad(value, untrusted.images, allow_unused=True) if value.requires_grad else ()
    ignored = not any(bool(gradient.any()) for gradient in gradients if gradient is not None)
    require(
        ignored,
        f"{title} ignores image_weight: losses on the generator's images must multiply each sample by "
        "step.prediction.image_weight",
    )
