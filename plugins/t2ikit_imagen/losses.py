"""The denoising loss: an error, weighted by noise level.

Sources: min-SNR weighting, arXiv 2303.09556 (section 3.4); soft min-SNR, arXiv 2401.11605 (section 3.3).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t2ikit import Step, UserError
from t2ikit_imagen.configs import DenoiseConfig


def snr_weight(snr: Tensor, gamma: float, prediction: str, *, soft: bool = False) -> Tensor:
    """Weight (B,) of a prediction's squared error at signal-to-noise ratios `snr` (B,); finite at 0.

    The clean picture's error weighs min(SNR, gamma), softly SNR gamma / (SNR + gamma); that of another
    prediction weighs as much as the error it makes in the clean picture: eps SNR^-1, v (SNR + 1)^-1,
    flow (1 + sqrt(SNR))^-2.
    """
    # w / SNR of the clean picture's weight w, which has no 0/0.
    ratio = gamma / (snr + gamma) if soft else gamma / snr.clamp_min(gamma)
    if prediction == "epsilon":
        return ratio
    share = {"sample": torch.ones_like(snr), "v_prediction": snr + 1}.get(
        prediction, (1 + snr.sqrt()).square()
    )
    # Divided first: SNR may be as large as a float goes.
    return ratio * (snr / share)


class DenoiseLoss(nn.Module):
    """Mean over samples of weight x mean error of the prediction.

    Args:
        config: error, weighting and gamma.
    """

    def __init__(self, config: DenoiseConfig) -> None:
        super().__init__()
        self.config = config

    def error(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean error of each sample, (B,), of pictures (B, 3, H, W)."""
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
        if self.config.weighting == "none":
            return error.mean()
        kind = step.prediction.prediction_type
        if kind is None:
            raise UserError(
                "losses.denoise: SNR weights need to know what the generator predicts",
                expected="a Prediction with prediction_type",
                got="None",
                fix="set it in the generator, or --set losses.denoise.weighting=none",
            )
        weight = snr_weight(snr, self.config.gamma, kind, soft=self.config.weighting == "soft_min_snr")
        return (weight * error).mean()
