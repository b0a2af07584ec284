"""The checks of losses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from t2ikit.core.batch import Prediction
from t2ikit.core.interfaces import Generator
from t2ikit.errors import UserError
from t2ikit.registry.registry import Registry
from t2ikit.registry.specs import LossSpec
from t2ikit.testing.checks.loss_trial import SIZE, Changed, LossTrial, Toy
from t2ikit.testing.report import Check, require_all
from t2ikit.testing.support import (
    Subject,
    Unbuildable,
    close,
    finite,
    reload,
    require,
    seeded,
    shake,
    subject,
)
from t2ikit.testing.toys import ToyDenoiser, ToyGAN, toy_batch

CUTS = (slice(0, 3), slice(3, 8))


def check_loss(name: str, registry: Registry | None = None, /, **config: Any) -> None:
    """Check a loss on a toy denoiser and, unless its needs forbid it, on a toy GAN.

    It must give a finite scalar that is differentiable with respect to its player and its own parameters;
    repeat (randomness comes from `step.draws` alone); be a plain mean over the batch, so that the mean over
    micro-batches equals the whole to 1e-5; work under bf16 autocast and with predictions in bf16; keep all it
    learns in its state dict; and, if it looks at the generator's images, leave those alone whose
    `image_weight` is 0.

    Args:
        name: of the loss, as in a recipe.
        registry: where it is looked up; None takes the installed plugins.
        **config: its options.

    Raises:
        AssertionError: something of that does not hold.
    """
    for trial in loss_trials(subject("losses", name, registry, config)):
        require_all(LOSS_CHECKS, trial)


def loss_trials(part: Subject) -> list[LossTrial]:
    """A loss on each family of generators that it can be used with."""
    families: dict[str, Toy] = {"a denoiser": ToyDenoiser}
    if not {"target", "snr"} & part.entry.spec.needs:
        families["a one-step generator"] = ToyGAN
    return [LossTrial(part, family, toy) for family, toy in families.items()]


def _check_value(trial: LossTrial) -> None:
    try:
        value = trial.value(trial.player())
    except UserError as error:
        if trial.toy is ToyGAN:  # what it works with on a denoiser alone, it has to say
            raise
        raise Unbuildable(f"{trial.title} cannot be used: {error}") from error
    require(finite(value), f"{trial.title} is {float(value.detach())}, must be finite")


def _check_gradient(trial: LossTrial) -> None:
    player, title = trial.player(), trial.title
    value = trial.value(player)
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


def _check_randomness(trial: LossTrial) -> None:
    player = trial.player()
    value = trial.value(player)
    with seeded(2):
        again = trial.value(player)
    require(
        close(again, value, 1e-6),
        f"{trial.title} gave {float(value.detach()):.6g} and then {float(again.detach()):.6g} for the same "
        "batch: all randomness must come from step.draws, and a loss keeps no state",
    )


def _check_mean(trial: LossTrial) -> None:
    player, batch = trial.player(), trial.batch
    value = trial.value(player)
    parts = sum(trial.value(player, batch[cut]) * (cut.stop - cut.start) for cut in CUTS) / len(batch)
    require(
        close(torch.as_tensor(parts), value, 1e-5),
        f"{trial.title} is {float(value.detach()):.6g} on the whole batch but "
        f"{float(torch.as_tensor(parts).detach()):.6g} as the mean over micro-batches: "
        "it must be a plain mean over B",
    )


def _check_bf16(trial: LossTrial) -> None:
    changes: dict[str, Callable[[Generator], Generator]] = {
        "under bf16 autocast": lambda generator: generator,
        "with predictions in bf16": lambda generator: Changed(generator, _in_bf16),
    }
    for where, change in changes.items():
        player = trial.player(change=change)
        with torch.autocast("cpu", torch.bfloat16):
            value = trial.value(player)
        require(finite(value), f"{trial.title} is {float(value.detach())} {where}, must be finite")
        value.backward()
        gradients = [p.grad for p in player.parameters() if p.grad is not None]
        require(finite(*gradients), f"{trial.title} has a gradient that is not finite {where}")


def _in_bf16(prediction: Prediction) -> Prediction:
    """What a generator gives that does not put its output back to fp32."""
    output, target = (
        None if tensor is None else tensor.bfloat16() for tensor in (prediction.output, prediction.target)
    )
    images = [level.bfloat16() for level in prediction.images]
    return replace(prediction, images=images, output=output, target=target)


def _check_state(trial: LossTrial) -> None:
    trained, module = trial.part.build(SIZE), isinstance(trial.loss, nn.Module)
    if module:
        shake(trained)
    for seed in (1, 2):
        trial.value(trial.player(trained), toy_batch(8, SIZE, seed=seed))
    resumed = reload(trial.part, SIZE, trained) if module else trial.part.build(SIZE, seed=7)
    values = [trial.value(trial.player(loss)).detach() for loss in (trained, resumed)]
    require(
        close(values[1], values[0], 1e-6),
        f"{trial.title} is {float(values[0]):.6g}, and {float(values[1]):.6g} once it was built anew with "
        "what was saved",
    )


def _check_weight(trial: LossTrial) -> None:
    spec: LossSpec = trial.part.entry.spec
    if spec.player != "generator" or {"target", "snr"} & spec.needs:
        return
    images: list[Tensor] = []

    def untrusted(prediction: Prediction) -> Prediction:
        images[:] = [level.detach().requires_grad_(True) for level in prediction.images]
        return replace(
            prediction, images=list(images), image_weight=torch.zeros_like(prediction.image_weight)
        )

    value = trial.value(trial.player(change=lambda generator: Changed(generator, untrusted)))
    gradients = torch.autograd.grad(value, images, allow_unused=True) if value.requires_grad else ()
    ignored = not any(bool(gradient.any()) for gradient in gradients if gradient is not None)
    require(
        ignored,
        f"{trial.title} ignores image_weight: losses on the generator's images must multiply each sample by "
        "step.prediction.image_weight",
    )


LOSS_CHECKS = (
    Check(
        "value",
        "one finite number, a tensor without dimensions",
        "return a mean over all entries; divide and take roots and logarithms away from 0",
        _check_value,
        vital=True,
    ),
    Check(
        "gradient",
        "a finite gradient for its player and for each parameter of its own",
        "compute it from step.prediction, step.fake or step.logits, without detach(), item(), numpy or "
        "no_grad, and use every parameter",
        _check_gradient,
        vital=True,
    ),
    Check(
        "randomness",
        "the same value each time for one batch",
        'draw random numbers from step.draws.named("NAME") alone, and keep nothing between calls',
        _check_randomness,
    ),
    Check(
        "mean over the batch",
        "the mean over micro-batches is the value of the whole batch",
        "take a plain mean over B: no sum, and no division by a count of this micro-batch",
        _check_mean,
        after="randomness",
    ),
    Check(
        "bf16",
        "value and gradients are finite in bf16",
        "compute in fp32 what is divided, subtracted or put into a root or a logarithm: x.float()",
        _check_bf16,
    ),
    Check(
        "saved state",
        "the same value after its state is saved and loaded",
        "keep tensors that it is built with in nn.Parameter or register_buffer of an nn.Module, not in plain "
        "attributes; keep no running means, of any kind",
        _check_state,
        after="randomness",
    ),
    Check(
        "image_weight",
        "images of weight 0 get no gradient",
        "multiply each sample's loss by step.prediction.image_weight (B,) before the mean",
        _check_weight,
    ),
)
"""In the order they are run."""
