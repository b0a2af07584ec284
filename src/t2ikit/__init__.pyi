"""The public names of t2ikit, and where each is."""

from .core.batch import Batch as Batch, Condition as Condition, Draws as Draws, Prediction as Prediction, Record as Record, TextEmbedding as TextEmbedding
from .core.interfaces import Critic as Critic, Dataset as Dataset, Denoiser as Denoiser, Download as Download, Drawn as Drawn, Generator as Generator, Measure as Measure, Metric as Metric, NotMeasured as NotMeasured, OneStep as OneStep, Sampler as Sampler, StreamingDataset as StreamingDataset, TextEncoder as TextEncoder
from .core.step import Step as Step
from .errors import T2ikitWarning as T2ikitWarning, UserError as UserError
from .evaluation.functions import compare as compare, evaluate as evaluate, sweep as sweep
from .evaluation.report import ComparisonReport as ComparisonReport
from .evaluation.results import EvaluationOptions as EvaluationOptions, EvaluationResult as EvaluationResult
from .evaluation.sweeps import Sweep as Sweep
from .exporters.exporting import export as export
from .nn.noise import noise_levels as noise_levels, noise_schedule as noise_schedule, noise_target as noise_target, noised_prediction as noised_prediction, random_timesteps as random_timesteps, sigmoid_betas as sigmoid_betas, signal_to_noise as signal_to_noise, to_clean as to_clean
from .nn.text_tower import TextTower as TextTower
from .registry.hookspecs import hookimpl as hookimpl
from .registry.registry import Registry as Registry
from .registry.specs import Config as Config, Context as Context, CriticSpec as CriticSpec, DatasetConfig as DatasetConfig, DatasetSpec as DatasetSpec, ExporterSpec as ExporterSpec, GeneratorSpec as GeneratorSpec, LossSpec as LossSpec, MetricSpec as MetricSpec, RecipeSpec as RecipeSpec, SamplerSpec as SamplerSpec, TextEncoderSpec as TextEncoderSpec
from .runs.run import Run as Run, open_run as open_run
from .sampling.configs import SamplerConfig as SamplerConfig
from .sampling.denoising import DenoiserSampler as DenoiserSampler, ScheduledSampler as ScheduledSampler
from .sampling.guidance import GuidedDenoiser as GuidedDenoiser, clamp_images as clamp_images, guided as guided, schedule_config as schedule_config, threshold as threshold
from .sampling.sample import sample as sample
from .sampling.samples import Samples as Samples
from .training.train import read_recipe as read_recipe, train as train

__version__: str
