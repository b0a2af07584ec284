"""The checks of samplers."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from t2ikit.core.interfaces import Denoiser, Sampler
from t2ikit.core.rng import Draws
from t2ikit.registry.registry import Registry
from t2ikit.testing.checks.generator_trial import COUNT, SOME
from t2ikit.testing.report import Check, Trial, require_all
from t2ikit.testing.support import TEXT_WIDTH, Subject, close, finite, require, seeded, subject
from t2ikit.testing.toys import ToyDenoiser, ToyGAN, toy_condition


def check_sampler(
    name: str, registry: Registry | None = None, image_size: int = 16, /, **config: Any
) -> None:
    """Check a sampler on a toy model: range, that it repeats, progress, and that samples do not mix.

    It must also work under bf16 autocast.

    Args:
        name: of the sampler, as in a recipe.
        registry: where it is looked up; None takes the installed plugins.
        image_size: pixels.
        **config: its options.

    Raises:
        AssertionError: something of the interface does not hold.
    """
    require_all(SAMPLER_CHECKS, SamplerTrial(subject("samplers", name, registry, config), image_size))


class SamplerTrial(Trial):
    """A sampler and a toy of the family that it requires.

    Args:
        part: the sampler.
        image_size: pixels.
    """

    def __init__(self, part: Subject, image_size: int = 16) -> None:
        self.part, self.title, self.size = part, part.title, image_size

    @cached_property
    def sampler(self) -> Sampler:
        """The sampler itself."""
        sampler: Sampler = self.part.build(self.size)
        return sampler

    @cached_property
    def model(self) -> ToyDenoiser | ToyGAN:
        """The toy that is sampled."""
        with seeded(1):
            toy = ToyDenoiser if self.part.entry.spec.requires == "Denoiser" else ToyGAN
            return toy(TEXT_WIDTH, self.size).eval()

    @property
    def weights(self) -> tuple[float | None, ...]:
        """Guidance to try: None is the sampler's own."""
        return (None, 1.0, 3.0) if isinstance(self.model, Denoiser) else (None,)

    def images(self, cut: slice = slice(0, COUNT), *, key: int = 0, **options: Any) -> Tensor:
        """Images (B, C, H, W); `key` chooses the randomness, and `options` are those of the call."""
        if isinstance(self.model, Denoiser):
            options = {"steps": 3, **options}
        condition = toy_condition(["a red square", "a blue square", "green", ""])
        draws = Draws(torch.arange(COUNT) + key, "sample")
        return self.sampler(self.model, condition[cut], draws=draws[cut], **options)


def _check_kind(trial: SamplerTrial) -> None:
    sampler, title = trial.sampler, trial.title
    require(isinstance(sampler, Sampler), f"{title} must be a t2ikit.Sampler")
    require(
        isinstance(sampler.steps, int) and sampler.steps >= 1 and isinstance(sampler.guidance, (int, float)),
        f"{title}: steps must be a whole number of at least 1, and guidance a number",
    )


def _check_images(trial: SamplerTrial) -> None:
    shape, title = (COUNT, 3, trial.size, trial.size), trial.title
    for guidance in trial.weights:
        images = trial.images(guidance=guidance)
        require(tuple(images.shape) == shape, f"{title} must give {shape}, gave {tuple(images.shape)}")
        inside = finite(images) and float(images.abs().max()) <= 1
        require(inside, f"{title}: images must lie in [-1, 1] (guidance {guidance})")
        require(not images.requires_grad, f"{title}: images must carry no gradient")


def _why(trial: SamplerTrial) -> str:
    """What makes images differ from one call to the next: what a sampler keeps, or randomness of its own."""
    first, second = (SamplerTrial(trial.part, trial.size).images() for _ in range(2))
    if torch.equal(first, second):
        return "a new sampler repeats itself: nothing of one call may be kept for the next"
    return "all randomness must come from `draws`"


def _check_draws(trial: SamplerTrial) -> None:
    for guidance in trial.weights:
        images = trial.images(guidance=guidance)
        with seeded(2):
            again = trial.images(guidance=guidance)
        require(torch.equal(again, images), f"{trial.title}: the same draws gave other images; {_why(trial)}")
    other = trial.images(key=100)
    alike = any(torch.equal(a, b) for a, b in zip(other, trial.images()))
    require(not alike, f"{trial.title}: other draws changed nothing")


def _check_independence(trial: SamplerTrial) -> None:
    some, whole = trial.images(SOME), trial.images()
    require(close(some, whole[SOME], 1e-4), f"{trial.title}: an image depends on the others sampled with it")


def _check_progress(trial: SamplerTrial) -> None:
    seen: list[tuple[int, int]] = []
    trial.images(progress=lambda done, total: seen.append((done, total)))
    done = [step for step, _ in seen]
    right = done == sorted(set(done)) and bool(seen) and seen[-1][0] == seen[-1][1]
    require(
        right,
        f"{trial.title}: progress must be called with rising (done, total) up to (total, total), was {seen}",
    )


def _check_bf16(trial: SamplerTrial) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        images = trial.images()
    require(finite(images), f"{trial.title}: images are not finite under bf16 autocast")


SAMPLER_CHECKS = (
    Check(
        "interface",
        "a t2ikit.Sampler with steps and guidance",
        "derive it from t2ikit.DenoiserSampler, or from t2ikit.Sampler",
        _check_kind,
        vital=True,
    ),
    Check(
        "images",
        "finite images (B, 3, H, W) in [-1, 1] without gradient",
        "end with t2ikit.clamp_images, and sample under torch.no_grad()",
        _check_images,
        vital=True,
    ),
    Check(
        "draws",
        "the same draws give the same images, others give others",
        "make noise with draws.randn(...), not with torch.randn, randn_like or a generator of your own, and "
        "keep nothing on self between calls",
        _check_draws,
    ),
    Check(
        "samples do not mix",
        "an image does not depend on those sampled with it",
        "work on each sample alone: no statistics over the batch, no seed of the batch's first key, "
        "no noise from elsewhere than draws",
        _check_independence,
        after="draws",
    ),
    Check(
        "progress",
        "`progress` is called with (done, total), up to (total, total)",
        "call it after each step",
        _check_progress,
    ),
    Check("bf16", "images are finite in bf16", "keep the images in fp32: x.float()", _check_bf16),
)
"""In the order they are run."""
