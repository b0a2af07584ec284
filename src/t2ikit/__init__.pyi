"""The public names of t2ikit, and where each is."""

from .config.base import Config as Config
from .core.batch import (
    Batch as Batch,
)
from .core.batch import (
    Condition as Condition,
)
from .core.batch import (
    Prediction as Prediction,
)
from .core.batch import (
    Record as Record,
)
from .core.batch import (
    TextEmbedding as TextEmbedding,
)
from .core.interfaces import (
    Critic as Critic,
)
from .core.interfaces import (
    Dataset as Dataset,
)
from .core.interfaces import (
    Denoiser as Denoiser,
)
from .core.interfaces import (
    Generator as Generator,
)
from .core.interfaces import (
    OneStep as OneStep,
)
from .core.interfaces import (
    Sampler as Sampler,
)
from .core.interfaces import (
    StreamingDataset as StreamingDataset,
)
from .core.interfaces import (
    TextEncoder as TextEncoder,
)
from .core.metric import Download as Download
from .core.metric import Drawn as Drawn  # type: ignore[attr-defined]
from .core.metric import ImageSet as ImageSet
from .core.metric import Measure as Measure
from .core.metric import Metric as Metric
from .core.metric import NotMeasured as NotMeasured
from .core.rng import Draws as Draws
from .core.step import Step as Step
from .errors import T2ikitWarning as T2ikitWarning
from .errors import UserError as UserError
from .evaluation.functions import compare as compare
from .evaluation.functions import evaluate as evaluate
from .evaluation.functions import sweep as sweep
from .evaluation.report import ComparisonReport as ComparisonReport
from .evaluation.results import EvaluationOptions as EvaluationOptions
from .evaluation.results import EvaluationResult as EvaluationResult
from .evaluation.sweeps import Sweep as Sweep
from .exporters.exporting import export as export
from .nn.noise import (
    noise_levels as noise_levels,
)
from .nn.noise import (
    noise_schedule as noise_schedule,
)
from .nn.noise import (
    noise_target as noise_target,
)
from .nn.noise import (
    noised_prediction as noised_prediction,
)
from .nn.noise import (
    random_timesteps as random_timesteps,
)
from .nn.noise import (
    sigmoid_betas as sigmoid_betas,
)
from .nn.noise import (
    signal_to_noise as signal_to_noise,
)
from .nn.noise import (
    to_clean as to_clean,
)
from .nn.text_tower import TextTower as TextTower
from .registry.hookspecs import hookimpl as hookimpl
from .registry.registry import Registry as Registry
from .registry.specs import (
    Context as Context,
)
from .registry.specs import (
    CriticSpec as CriticSpec,
)
from .registry.specs import (
    DatasetConfig as DatasetConfig,
)
from .registry.specs import (
    DatasetSpec as DatasetSpec,
)
from .registry.specs import (
    ExporterSpec as ExporterSpec,
)
from .registry.specs import (
    GeneratorSpec as GeneratorSpec,
)
from .registry.specs import (
    LossSpec as LossSpec,
)
from .registry.specs import (
    MetricSpec as MetricSpec,
)
from .registry.specs import (
    RecipeSpec as RecipeSpec,
)
from .registry.specs import (
    SamplerSpec as SamplerSpec,
)
from .registry.specs import (
    TextEncoderSpec as TextEncoderSpec,
)
from .runs.open import open_run as open_run
from .runs.run import Run as Run
from .sampling.configs import SamplerConfig as SamplerConfig
from .sampling.denoising import DenoiserSampler as DenoiserSampler
from .sampling.denoising import ScheduledSampler as ScheduledSampler
from .sampling.guidance import (
    GuidedDenoiser as GuidedDenoiser,
)
from .sampling.guidance import (
    clamp_images as clamp_images,
)
from .sampling.guidance import (
    guided as guided,
)
from .sampling.guidance import (
    schedule_config as schedule_config,
)
from .sampling.guidance import (
    threshold as threshold,
)
from .sampling.sample import sample as sample
from .sampling.samples import Samples as Samples
from .training.train import read_recipe as read_recipe
from .training.train import train as train

__version__: str
