"""t2ikit: train, sample and compare small text-to-image models.

Names load on first use, so that `import t2ikit` and the command line start without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from t2ikit.batch import Batch, Condition, Draws, Prediction, Record, TextEmbedding
    from t2ikit.errors import UserError
    from t2ikit.hookspecs import hookimpl
    from t2ikit.interfaces import (
        Critic,
        Dataset,
        Denoiser,
        Drawn,
        Generator,
        Measure,
        Metric,
        NotMeasured,
        OneStep,
        Sampler,
        StreamingDataset,
        TextEncoder,
    )
    from t2ikit.run import Run, open_run
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
    from t2ikit.step import Step
    from t2ikit.text.tower import TextTower

__version__ = "0.1.0"

_MODULES = {
    "batch": ("Batch", "Condition", "Draws", "Prediction", "Record", "TextEmbedding"),
    "errors": ("UserError",),
    "hookspecs": ("hookimpl",),
    "interfaces": (
        "Critic",
        "Dataset",
        "Denoiser",
        "Drawn",
        "Generator",
        "Measure",
        "Metric",
        "NotMeasured",
        "OneStep",
        "Sampler",
        "StreamingDataset",
        "TextEncoder",
    ),
    "run": ("Run", "open_run"),
    "specs": (
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
    ),
    "step": ("Step",),
    "text.tower": ("TextTower",),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"t2ikit.{_HOME[name]}"), name)
    raise AttributeError(f"module 't2ikit' has no attribute {name!r}")


__all__ = [
    "Batch",
    "Condition",
    "Config",
    "Context",
    "Critic",
    "CriticSpec",
    "Dataset",
    "DatasetConfig",
    "DatasetSpec",
    "Denoiser",
    "Drawn",
    "Draws",
    "ExporterSpec",
    "Generator",
    "GeneratorSpec",
    "LossSpec",
    "Measure",
    "Metric",
    "MetricSpec",
    "NotMeasured",
    "OneStep",
    "Prediction",
    "RecipeSpec",
    "Record",
    "Run",
    "Sampler",
    "SamplerSpec",
    "Step",
    "StreamingDataset",
    "TextEmbedding",
    "TextEncoder",
    "TextEncoderSpec",
    "TextTower",
    "UserError",
    "__version__",
    "hookimpl",
    "open_run",
]
