"""t2ikit: train, sample and compare small text-to-image models.

Names load on first use, so that `import t2ikit` and the command line start without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from t2ikit.batch import Batch, Condition, Draws, Prediction, Record, TextEmbedding
    from t2ikit.errors import T2ikitWarning, UserError
    from t2ikit.evaluation_results import EvaluationOptions, EvaluationResult
    from t2ikit.exporting import export
    from t2ikit.hookspecs import hookimpl
    from t2ikit.interfaces import (
        Critic,
        Dataset,
        Denoiser,
        Download,
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
    from t2ikit.measuring import compare, evaluate, sweep
    from t2ikit.nn.noise import (
        noise_levels,
        noise_schedule,
        noise_target,
        noised_prediction,
        random_timesteps,
        sigmoid_betas,
        signal_to_noise,
        to_clean,
    )
    from t2ikit.registry import Registry
    from t2ikit.report import ComparisonReport
    from t2ikit.run import Run, open_run
    from t2ikit.sampling.configs import SamplerConfig
    from t2ikit.sampling.denoising import DenoiserSampler, ScheduledSampler
    from t2ikit.sampling.guidance import GuidedDenoiser, clamp_images, guided, schedule_config, threshold
    from t2ikit.sampling.sample import sample
    from t2ikit.sampling.samples import Samples
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
    from t2ikit.sweeping import Sweep
    from t2ikit.text.tower import TextTower
    from t2ikit.train_function import read_recipe, train

__version__ = "0.1.0"

_MODULES = {
    "batch": ("Batch", "Condition", "Draws", "Prediction", "Record", "TextEmbedding"),
    "errors": ("T2ikitWarning", "UserError"),
    "evaluation_results": ("EvaluationOptions", "EvaluationResult"),
    "exporting": ("export",),
    "hookspecs": ("hookimpl",),
    "interfaces": (
        "Critic",
        "Dataset",
        "Denoiser",
        "Download",
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
    "measuring": ("compare", "evaluate", "sweep"),
    "nn.noise": (
        "noise_levels",
        "noise_schedule",
        "noise_target",
        "noised_prediction",
        "random_timesteps",
        "sigmoid_betas",
        "signal_to_noise",
        "to_clean",
    ),
    "report": ("ComparisonReport",),
    "registry": ("Registry",),
    "run": ("Run", "open_run"),
    "sampling.configs": ("SamplerConfig",),
    "sampling.denoising": ("DenoiserSampler", "ScheduledSampler"),
    "sampling.guidance": ("GuidedDenoiser", "clamp_images", "guided", "schedule_config", "threshold"),
    "sampling.sample": ("sample",),
    "sampling.samples": ("Samples",),
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
    "sweeping": ("Sweep",),
    "text.tower": ("TextTower",),
    "train_function": ("read_recipe", "train"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"t2ikit.{_HOME[name]}"), name)
    raise AttributeError(f"module 't2ikit' has no attribute {name!r}")


__all__ = [
    "Batch",
    "ComparisonReport",
    "Condition",
    "Config",
    "Context",
    "Critic",
    "CriticSpec",
    "Dataset",
    "DatasetConfig",
    "DatasetSpec",
    "Denoiser",
    "DenoiserSampler",
    "Download",
    "Drawn",
    "Draws",
    "EvaluationOptions",
    "EvaluationResult",
    "ExporterSpec",
    "Generator",
    "GeneratorSpec",
    "GuidedDenoiser",
    "LossSpec",
    "Measure",
    "Metric",
    "MetricSpec",
    "NotMeasured",
    "OneStep",
    "Prediction",
    "RecipeSpec",
    "Record",
    "Registry",
    "Run",
    "Sampler",
    "SamplerConfig",
    "SamplerSpec",
    "Samples",
    "ScheduledSampler",
    "Step",
    "StreamingDataset",
    "Sweep",
    "T2ikitWarning",
    "TextEmbedding",
    "TextEncoder",
    "TextEncoderSpec",
    "TextTower",
    "UserError",
    "__version__",
    "clamp_images",
    "compare",
    "evaluate",
    "export",
    "guided",
    "hookimpl",
    "noise_levels",
    "noise_schedule",
    "noise_target",
    "noised_prediction",
    "open_run",
    "random_timesteps",
    "read_recipe",
    "sample",
    "schedule_config",
    "sigmoid_betas",
    "signal_to_noise",
    "sweep",
    "threshold",
    "to_clean",
    "train",
]
