"""The gigagan plugin: filter-bank layers, a text-conditional GAN, its critics and losses.

Names load on first use, so that listing the plugin imports no torch.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
