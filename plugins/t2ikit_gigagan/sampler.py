"""One latent, one step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from t2ikit import Condition, Draws, Sampler, UserError, clamp_images


class OneStepSampler(Sampler):
    """Draws images in one call of the generator.

    Args:
        truncation: 1: styles as they come; below 1: moved towards the text's mean style, which gives fewer
            odd images and less variety (the truncation trick, arXiv 1812.04948).
        augmentation: level in [0, 1] of the noise added to the images to upscale.
    """

    def __init__(self, truncation: float = 1.0, augmentation: float = 0.0) -> None:
        self.truncation, self.augmentation = truncation, augmentation

    @torch.no_grad()
    def __call__(
        self,
        model: Any,
        condition: Condition,
        *,
        steps: int | None = None,
        guidance: float | None = None,
        draws: Draws,
        progress: Callable[[int, int], None] | None = None,
    ) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1]; NaN where the model gave what is not finite.

        Raises:
            UserError: more than one step, or guidance, which this model has not.
        """
        for name, value in (("steps", steps), ("guidance", guidance)):
            if value not in (None, 1):
                raise UserError(
                    f"{name}: a GAN draws in one step, without guidance",
                    expected=f"{name} 1, or none given",
                    got=value,
                    fix=f"leave out --{name}; --set sampler.truncation=0.7 trades variety for quality",
                )
        small = condition.low_res
        if model.super_resolution is not None and small is not None and condition.noise_level is None:
            size = (small.shape[-2], small.shape[-1])
            condition = model.super_resolution.augmented(condition, size, draws, self.augmentation)
        images = model.generate(condition, draws, self.truncation)[-1]
        self.function_evaluations += len(images)
        if progress is not None:
            progress(1, 1)
        return clamp_images(images)
