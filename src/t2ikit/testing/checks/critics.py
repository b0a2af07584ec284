"""The checks of critics."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from t2ikit.core.interfaces import Critic
from t2ikit.core.rng import Draws
from t2ikit.core.step import resize_level
from t2ikit.registry.registry import Registry
from t2ikit.testing.checks.generator_trial import COUNT, OTHER, SOME
from t2ikit.testing.report import Check, Trial, require_all
from t2ikit.testing.support import Subject, close, finite, reload, require, shake, subject
from t2ikit.testing.toys import toy_batch, toy_text


def check_critic(name: str, registry: Registry | None = None, image_size: int = 32, /, **config: Any) -> None:
    """Check a critic: a pyramid and one level, logits (B,), that it reacts, and that samples do not mix.

    It must also work under bf16 autocast, and keep all it learns in its state dict.

    Args:
        name: of the critic, as in a recipe.
        registry: where it is looked up; None takes the installed plugins.
        image_size: pixels.
        **config: its options.

    Raises:
        AssertionError: something of the interface does not hold.
    """
    for trial in critic_trials(subject("critics", name, registry, config), image_size):
        require_all(CRITIC_CHECKS, trial)


def critic_trials(part: Subject, size: int = 32) -> list[CriticTrial]:
    """A critic on a pyramid, and on one level."""
    return [CriticTrial(part, sizes) for sizes in ((size // 4, size // 2, size), (size,))]


class CriticTrial(Trial):
    """A critic and images at some levels.

    Args:
        part: the critic.
        sizes: of the levels, pixels, from coarse to fine.
    """

    def __init__(self, part: Subject, sizes: tuple[int, ...]) -> None:
        self.part, self.sizes = part, sizes
        self.title = f"{part.title} on {len(sizes)} {'levels' if len(sizes) > 1 else 'level'}"
        self.batch = toy_batch(COUNT, sizes[-1])
        self.levels = [resize_level(self.batch.images, (size, size)) for size in sizes]

    @cached_property
    def model(self) -> Critic:
        """The critic as it is built."""
        model: Critic = self.part.build(self.sizes[-1])
        require(isinstance(model, Critic), f"{self.part.title} must be a t2ikit.Critic")
        return model

    def logits(
        self, model: Critic, levels: list[Tensor] | None = None, cut: slice = slice(None)
    ) -> list[Tensor]:
        """What a critic says of images (B, 3, h, w) at every level beside their captions."""
        given = [level[cut] for level in (self.levels if levels is None else levels)]
        features = model.features(given, Draws(self.batch.keys, 0)[cut])
        return model.heads(features, model.read(self.batch.condition.text[cut]))


def _check_kind(trial: CriticTrial) -> None:
    _ = trial.model


@torch.no_grad()
def _check_logits(trial: CriticTrial) -> None:
    logits = trial.logits(trial.model)
    shapes = [tuple(logit.shape) for logit in logits]
    right = bool(shapes) and all(shape == (COUNT,) for shape in shapes)
    require(right, f"{trial.title}: heads must give a list of (B,), got {shapes}")
    require(finite(*logits), f"{trial.title}: logits must be finite")


@torch.no_grad()
def _check_randomness(trial: CriticTrial) -> None:
    for again, one in zip(trial.logits(trial.model), trial.logits(trial.model)):
        require(close(again, one, 1e-6), f"{trial.title}: the same draws gave different logits")


@torch.no_grad()
def _check_independence(trial: CriticTrial) -> None:
    for alone, one in zip(trial.logits(trial.model, cut=SOME), trial.logits(trial.model)):
        same = close(alone, one[SOME], 1e-4)
        require(same, f"{trial.title}: a logit depends on the other samples of the batch")


@torch.no_grad()
def _check_images(trial: CriticTrial) -> None:
    base = torch.cat(trial.logits(trial.model))
    negated = torch.cat(trial.logits(trial.model, [-level for level in trial.levels]))
    require(not close(negated, base, 1e-7), f"{trial.title}: the logits do not react to the images")


@torch.no_grad()
def _check_text(trial: CriticTrial) -> None:
    model = trial.model
    features = model.features(trial.levels, Draws(trial.batch.keys, 0))
    texts = (trial.batch.condition.text, toy_text(OTHER))
    base, other = (torch.cat(model.heads(features, model.read(text))) for text in texts)
    require(not close(other, base, 1e-7), f"{trial.title}: the logits do not react to the text")


def _check_penalty(trial: CriticTrial) -> None:
    """A gradient penalty differentiates twice."""
    leaves = [level.clone().requires_grad_(True) for level in trial.levels]
    total = torch.cat(trial.logits(trial.model, leaves)).sum()
    gradients = torch.autograd.grad(total, leaves, create_graph=True, allow_unused=True)
    require(gradients[-1] is not None, f"{trial.title}: the full image is not looked at")
    squares = [gradient.square().sum() for gradient in gradients if gradient is not None]
    torch.stack(squares).sum().backward()
    trial.model.zero_grad(set_to_none=True)


def _check_bf16(trial: CriticTrial) -> None:
    leaves = [level.clone().requires_grad_(True) for level in trial.levels]
    with torch.autocast("cpu", torch.bfloat16):
        logits = trial.logits(trial.model, leaves, SOME)
    require(finite(*logits), f"{trial.title}: logits are not finite under bf16 autocast")
    torch.cat(logits).float().sum().backward()
    seen = [*(level.grad for level in leaves), *(p.grad for p in trial.model.parameters())]
    good = finite(*(gradient for gradient in seen if gradient is not None))
    require(good, f"{trial.title}: a gradient is not finite under bf16 autocast")
    trial.model.zero_grad(set_to_none=True)


@torch.no_grad()
def _check_state(trial: CriticTrial) -> None:
    trained: Critic = trial.part.build(trial.sizes[-1])
    shake(trained)
    for factor in (0.5, -1.0):
        trial.logits(trained, [factor * level for level in trial.levels])
    resumed = reload(trial.part, trial.sizes[-1], trained)
    for mode in (False, True):
        seen = [torch.cat(trial.logits(model.train(mode))) for model in (trained, resumed)]
        require(
            close(seen[1], seen[0], 1e-5),
            f"{trial.title} gives other logits after its state was saved and loaded",
        )


CRITIC_CHECKS = (
    Check("interface", "a t2ikit.Critic", "derive it from t2ikit.Critic", _check_kind, vital=True),
    Check(
        "logits",
        "a list of finite logits (B,), one for each head",
        "return one number a sample from each head, of levels that may be several or one",
        _check_logits,
        vital=True,
    ),
    Check(
        "randomness",
        "the same draws give the same logits",
        "draw random numbers, those of an augmentation too, from `draws` alone",
        _check_randomness,
    ),
    Check(
        "samples do not mix",
        "a logit does not depend on the other samples",
        "no batch norm, and no mean over the batch",
        _check_independence,
        after="randomness",
    ),
    Check("images", "other images give other logits", "use the levels in `features`", _check_images),
    Check("text", "other captions give other logits", "use the text in `heads`", _check_text),
    Check(
        "gradient penalty",
        "the logits can be differentiated twice with respect to the images",
        "look at the last level, without detach() or operations that have no second derivative",
        _check_penalty,
    ),
    Check(
        "bf16",
        "logits and gradients are finite in bf16",
        "compute norms, softmaxes, exponentials and differences of close numbers in fp32: x.float()",
        _check_bf16,
    ),
    Check(
        "saved state",
        "the same logits after its state is saved and loaded",
        "keep tensors in nn.Parameter or register_buffer, not in plain attributes",
        _check_state,
    ),
)
"""In the order they are run."""
