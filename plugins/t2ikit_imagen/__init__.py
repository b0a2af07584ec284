"""The imagen plugin: a denoising diffusion model on diffusers' U-Net and schedulers.

Names load on first use, so that listing the plugin imports no torch.
"""

from __future__ import annotations

import importlib
from typing import Any

_LAZY = {
    "ImagenDenoiser": "denoiser",
    "build_unet": "unet",
    "DenoiseLoss": "losses",
    "DPMSolverSampler": "samplers",
    "UNetConfig": "configs",
    "DenoiseConfig": "configs",
    "DPMSolverConfig": "configs",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"t2ikit_imagen.{_LAZY[name]}"), name)
    raise AttributeError(f"module 't2ikit_imagen' has no attribute {name!r}")


__all__ = list(_LAZY)
