"""Denoising losses.

Source: min-SNR weighting, arXiv 2303.09556; for v-prediction the weight is min(SNR, gamma) / (SNR + 1),
finite at SNR 0.
"""

from __future__ import annotations

from torch import Tensor, nn

from t2ikit import Step


def min_snr_weight(snr: Tensor, gamma: float) -> Tensor:
    """Weight (B,) of the v-prediction error at signal-to-noise ratios `snr` (B,)."""
    return snr.clamp(max=gamma) / (snr + 1)


class DenoiseLoss(nn.Module):
    """Mean over samples of min_snr_weight x mean squared error of the prediction.

    Args:
        min_snr_gamma: greatest SNR that counts.
    """

    def __init__(self, min_snr_gamma: float) -> None:
        super().__init__()
        self.gamma = min_snr_gamma

    def forward(self, step: Step) -> Tensor:
        """A scalar."""
        output, target, snr = step.prediction.denoising()
        error = (output - target).square().flatten(1).mean(1)  # (B,)
        return (min_snr_weight(snr, self.gamma) * error).mean()
