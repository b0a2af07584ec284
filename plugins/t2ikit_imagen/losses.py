"""The denoising loss: an error, of pixels and of image gradients, weighted by noise level.

Sources: the error of image gradients: arXiv 1511.05440 (section 3.2); min-SNR weighting: arXiv 2303.09556
(section 3.4); soft min-SNR: arXiv 2401.11605 (section 3.3); SNR + 1: arXiv 2202.00512 (section 4).
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t2ikit import Step, UserError
from t2ikit_imagen.configs import DenoiseConfig

Weighting = Literal["min_snr", "soft_min_snr", "snr_plus_one"]


def snr_weight(snr: Tensor, gamma: float, prediction: str, *, weighting: Weighting = "min_snr") -> Tensor:
    """Weight (B,) of a prediction's squared error at signal-to-noise ratios `snr` (B,); finite at 0.

    The clean image's error weighs min(SNR, gamma), softly SNR gamma / (SNR + gamma), or min(SNR + 1,
    gamma), which is v's own weight, capped; that of another prediction weighs as much as the error it makes
    in the clean image: eps SNR^-1, v (SNR + 1)^-1, flow (1 + sqrt(SNR))^-2.

    Raises:
        UserError: SNR + 1 of eps, which would weigh pure noise without bound.
    """
    if weighting == "snr_plus_one":
        if prediction == "epsilon":
            raise UserError(
                "losses.denoise: snr_plus_one has no bound for epsilon, whose SNR goes to 0",
                expected="prediction v_prediction, sample or flow_prediction",
                got=prediction,
                fix="--set losses.denoise.weighting=min_snr",
            )
        return (snr + 1).clamp_max(gamma) / _share(snr, prediction)
    # w / SNR of the clean image's weight w, which has no 0/0.
    ratio = gamma / (snr + gamma) if weighting == "soft_min_snr" else gamma / snr.clamp_min(gamma)
    if prediction == "epsilon":
        return ratio
    # Divided first: SNR may be as large as a float goes.
    return ratio * (snr / _share(snr, prediction))


def _share(snr: Tensor, prediction: str) -> Tensor:
    """How many times smaller an error in the clean image is than that of v or of flow, squared."""
    if prediction == "sample":
        return torch.ones_like(snr)
    return snr + 1 if prediction == "v_prediction" else (1 + snr.sqrt()).square()


class DenoiseLoss(nn.Module):
    """Mean over samples of weight x mean error of the prediction.

    Args:
        config: error, weight of image gradients, weighting and gamma.
    """

    def __init__(self, config: DenoiseConfig) -> None:
        super().__init__()
        self.config = config

    def error(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean error of each sample, (B,), of images (B, 3, H, W).

        Beside that of pixels, `gradient` times that of the differences between neighbours, along columns and
        rows: what is small and sharp weighs more.
        """
        error = self._mean(output, target)
        if self.config.gradient:
            of_gradients = [self._mean(output.diff(dim=d), target.diff(dim=d)) for d in (-1, -2)]
            error = error + self.config.gradient * sum(of_gradients)
        return error

    def _mean(self, output: Tensor, target: Tensor) -> Tensor:
        if self.config.kind == "huber":
            error = F.huber_loss(output, target, reduction="none", delta=self.config.huber_delta)
        else:
            error = F.l1_loss(output, target, reduction="none")
            error = error.square() if self.config.kind == "l2" else error
        return error.flatten(1).mean(1)

    def forward(self, step: Step) -> Tensor:
        """A scalar."""
        output, target, snr = step.prediction.denoising()
        error = self.error(output, target)
        weighting = self.config.weighting
        if weighting == "none":
            return error.mean()
        kind = step.prediction.prediction_type
        if kind is None:
            raise UserError(
                "losses.denoise: SNR weights need to know what the generator predicts",
                expected="a Prediction with prediction_type",
                got="None",
                fix="set it in the generator, or --set losses.denoise.weighting=none",
            )
        weight = snr_weight(snr, self.config.gamma, kind, weighting=weighting)
        return (weight * error).mean()
