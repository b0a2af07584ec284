"""t2ikit: train, sample and compare small text-to-image models.

Names load on first use, so that `import t2ikit` and the command line start without torch: see `__init__.pyi`.
"""

from __future__ import annotations

import sys

import lazy_loader

from t2ikit.utils.moved import OldModules

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

sys.meta_path.append(OldModules())
