"""The sampler of one-step models: one latent, one call."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from t2ikit.core.batch import Condition
from t2ikit.core.interfaces import OneStep, Sampler
from t2ikit.core.rng import Draws
from t2ikit.errors import UserError
from t2ikit.sampling.guidance import clamp_images


class OneStepSampler(Sampler):
    """Samples a model of the kind `OneStep`: its network is called `model.calls` times, most often once.

    Args:
        truncation: 1: latents as they come; below 1: moved towards their mean, which gives fewer odd images
            and less variety (the truncation trick, arXiv 1812.04948).
        augmentation: level in [0, 1] of the noise added to the images to upscale.
    """

    def __init__(self, truncation: float = 1.0, augmentation: float = 0.0) -> None:
        self.truncation, self.augmentation = truncation, augmentation

    @torch.no_grad()
    def __call__(
        self,
        model: OneStep,
        condition: Condition,
        *,
        steps: int | None = None,
        guidance: float | None = None,
        draws: Draws,
        progress: Callable[[int, int], None] | None = None,
    ) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1]; NaN where the model gave what is not finite.

        Raises:
            UserError: another number of steps than the model's calls, or guidance, which it has not.
        """
        self._check(model.calls, steps, guidance)
        if condition.noise_level is None:
            condition = model.augment(condition, draws, self.augmentation)
        images = model.generate(condition, draws, self.truncation)[-1]
        self.function_evaluations += len(images) * model.calls
        if progress is not None:
            progress(1, 1)
        return clamp_images(images)

    def _check(self, calls: int, steps: int | None, guidance: float | None) -> None:
        for name, value, allowed in (("steps", steps, calls), ("guidance", guidance, 1)):
            if value not in (None, allowed):
                raise UserError(
                    f"{name}: this model samples in {_number(calls)}, without guidance",
                    expected=f"{name} {allowed}, or none given",
                    got=value,
                    fix=f"leave out --{name}; --set sampler.truncation=0.7 trades variety for quality",
                )


def _number(calls: int) -> str:
    return "one step" if calls == 1 else f"{calls} steps"
