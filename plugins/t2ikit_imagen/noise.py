"""The U-Net's noise schedule; the conversions, which are t2ikit's own now, keep their old names here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from t2ikit import noise_schedule
from t2ikit_imagen.configs import UNetConfig
from t2ikit_imagen.moved import moved

if TYPE_CHECKING:
    from diffusers import DDPMScheduler

FLOW = "flow_prediction"


def make_scheduler(config: UNetConfig) -> DDPMScheduler:
    """The training schedule. A flow model has one too: that of samplers other than `flow`."""
    return noise_schedule(
        config.schedule, timesteps=config.timesteps, zero_snr=config.zero_snr, prediction=config.prediction
    )


__getattr__ = moved(
    __name__,
    {
        "levels": "noise_levels",
        "target": "noise_target",
        "to_clean": "to_clean",
        "signal_to_noise": "signal_to_noise",
        "sigmoid_betas": "sigmoid_betas",
    },
)
