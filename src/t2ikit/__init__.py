"""t2ikit: train, sample and compare small text-to-image models.

Names load on first use, so that `import t2ikit` and the command line start without torch.
"""

from __future__ import annotations

import importlib
from typing import Any

from t2ikit.errors import UserError
from t2ikit.hookspecs import hookimpl
from t2ikit.specs import (
    Config,
    Context,
    CriticSpec,
    DatasetConfig,
    DatasetSpec,
    ExporterSpec,
    GeneratorSpec,
    LossSpec,
    MetricSpec,
    RecipeSpec,
    SamplerSpec,
    TextEncoderSpec,
)

__version__ = "0.1.0"

_LAZY = {
    "Batch": "batch",
    "Condition": "batch",
    "Draws": "batch",
    "Prediction": "batch",
    "Record": "batch",
    "TextEmbedding": "batch",
    "Critic": "interfaces",
    "Dataset": "interfaces",
    "Denoiser": "interfaces",
    "Generator": "interfaces",
    "Measure": "interfaces",
    "Metric": "interfaces",
    "OneStep": "interfaces",
    "Sampler": "interfaces",
    "TextEncoder": "interfaces",
    "Step": "step",
    "Run": "run",
    "open_run": "run",
    "TextTower": "text.tower",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"t2ikit.{_LAZY[name]}"), name)
    raise AttributeError(f"module 't2ikit' has no attribute {name!r}")


__all__ = [
    "Config",
    "Context",
    "CriticSpec",
    "DatasetConfig",
    "DatasetSpec",
    "ExporterSpec",
    "GeneratorSpec",
    "LossSpec",
    "MetricSpec",
    "RecipeSpec",
    "SamplerSpec",
    "TextEncoderSpec",
    "UserError",
    "__version__",
    "hookimpl",
    *_LAZY,
]
