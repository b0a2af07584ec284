"""The imagen plugin: a denoising diffusion model on diffusers' U-Net and schedulers.

Names load on first use, so that listing the plugin imports no torch.
"""

from __future__ import annotations

import importlib
from typing import Any

from t2ikit_imagen.moved import moved

_HOMES = {
    "deepfloyd": ("IFDenoiser",),
    "denoiser": ("ImagenDenoiser",),
    "pipeline": ("ImagenPipeline",),
    "super_resolution": ("ImagenUpsampler",),
    "unet": ("build_unet",),
    "losses": ("DenoiseLoss", "snr_weight"),
    "augmentation": ("augment",),
    "samplers": (
        "DDIMSampler",
        "DDPMSampler",
        "DPMSolverSampler",
        "EulerSampler",
        "FlowSampler",
        "UniPCSampler",
    ),
    "configs": (
        "DDIMConfig",
        "DDPMConfig",
        "DenoiseConfig",
        "EulerConfig",
        "FlowConfig",
        "IFConfig",
        "MultistepConfig",
        "SuperResolutionConfig",
        "UNetConfig",
    ),
}
_moved = moved(__name__, {"guided": "guided", "threshold": "threshold"}, depth=3)
_LAZY = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"t2ikit_imagen.{_LAZY[name]}"), name)
    return _moved(name)


__all__ = list(_LAZY)
