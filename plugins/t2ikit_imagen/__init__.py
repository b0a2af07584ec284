"""The imagen plugin: a denoising diffusion model on diffusers' U-Net and schedulers.

Names load on first use, so that listing the plugin imports no torch.
"""

from __future__ import annotations

from typing import Any

import lazy_loader

from t2ikit_imagen.moved import moved

_find, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
_moved = moved(__name__, {"guided": "guided", "threshold": "threshold"}, depth=3)


def __getattr__(name: str) -> Any:
    return _find(name) if name in __all__ else _moved(name)
