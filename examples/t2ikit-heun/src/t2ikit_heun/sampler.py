"""Heun's method, as in EDM (arXiv 2206.00364, algorithm 1), on the path x = (1 - sigma) x0 + sigma noise.

There dx/dsigma = (x - x0) / sigma, with x0 the clean images as the denoiser now sees them.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from torch import Tensor

from t2ikit import DenoiserSampler, Draws, GuidedDenoiser
from t2ikit_heun.plugin import HeunConfig


def noise_levels(steps: int, rho: float) -> list[float]:
    """Levels from 1 (noise) to 0 (images), `steps` + 1 of them."""
    return [(1 - step / steps) ** rho for step in range(steps + 1)]


class Heun(DenoiserSampler[HeunConfig]):
    """A step along the slope, then again along the mean of the slopes at both ends; the last is Euler's."""

    def denoise_loop(self, denoiser: GuidedDenoiser, x: Tensor, steps: int, draws: Draws) -> Iterator[Tensor]:
        """Images (B, C, H, W) after each step, from pure noise x; `draws` has no part in it."""
        levels = noise_levels(steps, self.config.rho)
        for sigma, after in pairwise(levels):
            slope = (x - denoiser.at_flow(x, sigma)) / sigma
            reached = x + (after - sigma) * slope
            if after > 0:
                there = (reached - denoiser.at_flow(reached, after)) / after
                reached = x + (after - sigma) * (slope + there) / 2
            x = reached
            yield x
