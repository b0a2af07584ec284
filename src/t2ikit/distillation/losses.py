"""Distribution matching: the student follows the difference between two denoisers' clean images.

Source: DMD (arXiv 2311.18828, equations 6 to 8); DMD2 (arXiv 2405.14867), which needs no pairs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t2ikit.core.step import Step
from t2ikit.distillation.configs import MatchingConfig, ScoreLossConfig
from t2ikit.distillation.score import score_of
from t2ikit.nn.noise import clean_weight, signal_to_noise

LEAST_DISTANCE = 1e-3
"""Of the student's image to the teacher's, by which the gradient is divided."""


class MatchingLoss(nn.Module):
    """Moves the student's images to where the teacher's density grows faster than their own.

    Args:
        config: guidance of the teacher and the range of noise levels.
    """

    def __init__(self, config: MatchingConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, step: Step) -> Tensor:
        """A scalar whose gradient with respect to an image is that of `gradient`, over B C H W."""
        images = step.fake[-1]
        towards = (images - self.gradient(step)).detach()
        return 0.5 * F.mse_loss(images, towards)

    @torch.no_grad()
    def gradient(self, step: Step) -> Tensor:
        """(score's clean - teacher's) / mean |image - teacher's|, (B, 3, H, W) (DMD, equations 7 and 8)."""
        networks, images = score_of(step), step.fake[-1].detach()
        condition = step.prediction.condition or step.batch.condition
        draws, config = step.draws.named("matching"), self.config
        level = config.low + (config.high - config.low) * draws.rand()
        t = networks.teacher.timesteps(level)
        x = networks.teacher.add_noise(images, draws.named("noise").randn(*images.shape[1:]), t)
        real = networks.teacher(x, t, condition, config.guidance).clamp(-1, 1)
        own = networks.score(x, t, condition)
        distance = (images - real).abs().mean((1, 2, 3), keepdim=True)
        return (own - real) / distance.clamp_min(LEAST_DISTANCE)


class ScoreLoss(nn.Module):
    """Teaches the score network to denoise the student's images.

    Args:
        config: the greatest weight.
    """

    def __init__(self, config: ScoreLossConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, step: Step) -> Tensor:
        """A scalar: mean over samples of weight x mean squared error of the clean image."""
        score, images = score_of(step).score, step.fake[-1]
        condition = step.prediction.condition or step.batch.condition
        draws = step.draws.named("score")
        t = score.timesteps(draws.rand())
        x = score.add_noise(images, draws.named("noise").randn(*images.shape[1:]), t)
        error = (score(x, t, condition) - images).square().mean((1, 2, 3))
        weight = clean_weight(signal_to_noise(*score.levels(t)), self.config.gamma, score.kind)
        return (weight * error).mean()
