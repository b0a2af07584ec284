"""The parts that come with t2ikit itself, as the plugin `t2ikit`; imports torch only when one is built."""

from __future__ import annotations

from typing import Any

from t2ikit.config.base import Config
from t2ikit.data.configs import (
    CREATURES_SUMMARY,
    FLUENT_EMOJI_SUMMARY,
    OPENMOJI_SUMMARY,
    CreaturesConfig,
    FluentEmojiConfig,
    FolderConfig,
    HubConfig,
    OpenmojiConfig,
    ShardsConfig,
    TableConfig,
    accepts_folder,
    accepts_hub,
    accepts_shards,
    accepts_table,
)
from t2ikit.distillation.specs import LOSSES, RECIPE, SCORE, STUDENT
from t2ikit.metrics.configs import (
    ClipDiversityConfig,
    ClipFeatureConfig,
    ClipScoreConfig,
    FeatureConfig,
    LpipsConfig,
    PlainConfig,
    ReaderDiversityConfig,
)
from t2ikit.metrics.prompt_accuracy import PromptAccuracyConfig, readable
from t2ikit.registry.hookspecs import hookimpl
from t2ikit.registry.specs import (
    CriticSpec,
    DatasetSpec,
    ExporterSpec,
    GeneratorSpec,
    LossSpec,
    MetricSpec,
    RecipeSpec,
    SamplerSpec,
    TextEncoderSpec,
)
from t2ikit.sampling.configs import OneStepConfig
from t2ikit.text.configs import BuiltinTextConfig, ClipTextConfig, PretrainedConfig, T5Config


def _creatures(config: CreaturesConfig, context: None) -> Any:
    from t2ikit.data.creatures.dataset import Creatures

    return Creatures(config)


def _folder(config: FolderConfig, context: None) -> Any:
    from t2ikit.data.formats.folder import open_folder

    return open_folder(config)


def _table(config: TableConfig, context: None) -> Any:
    from t2ikit.data.formats.table import open_table

    return open_table(config)


def _hub(config: HubConfig, context: None) -> Any:
    from t2ikit.data.streams.hub_stream import open_hub_dataset

    return open_hub_dataset(config)


def _shards(config: ShardsConfig, context: None) -> Any:
    from t2ikit.data.formats.shard_stream import open_shards

    return open_shards(config)


def _openmoji(config: OpenmojiConfig, context: None) -> Any:
    from t2ikit.data.openmoji import open_openmoji

    return open_openmoji(config)


def _fluent_emoji(config: FluentEmojiConfig, context: None) -> Any:
    from t2ikit.data.fluent_emoji import open_fluent_emoji

    return open_fluent_emoji(config)


def _builtin_text(config: BuiltinTextConfig, context: None) -> Any:
    from t2ikit.text.builtin import BuiltinTextEncoder

    return BuiltinTextEncoder(config)


def _pretrained(config: PretrainedConfig, context: None) -> Any:
    from t2ikit.text.pretrained import PretrainedEncoder

    return PretrainedEncoder(config)


def _prompt_accuracy(config: PromptAccuracyConfig, context: None) -> Any:
    from t2ikit.metrics.prompt_accuracy import PromptAccuracy

    return PromptAccuracy(config)


def _reader_distance(config: FeatureConfig, context: None) -> Any:
    from t2ikit.metrics.distances import FeatureDistance
    from t2ikit.metrics.features import ReaderNetwork

    # No precision: noise lies in the middle of these features, within reach of everything.
    names = {"kernel": "kd-reader", "frechet": "fd-reader"}
    return FeatureDistance(config, ReaderNetwork(), names, readable)


def _reader_diversity(config: ReaderDiversityConfig, context: None) -> Any:
    from t2ikit.metrics.diversity import FeatureDiversity
    from t2ikit.metrics.features import ReaderNetwork

    return FeatureDiversity(config.batch, ReaderNetwork(), readable)


def _clip_diversity(config: ClipDiversityConfig, context: None) -> Any:
    from t2ikit.metrics.clip_files import ClipNetwork
    from t2ikit.metrics.diversity import FeatureDiversity

    return FeatureDiversity(config.batch, ClipNetwork(config.model))


def _fid(config: FeatureConfig, context: None) -> Any:
    from t2ikit.metrics.distances import FeatureDistance
    from t2ikit.metrics.fidelity import inception

    return FeatureDistance(config, inception(), {"kernel": "kid", "frechet": "fid"})


def _precision_recall(config: FeatureConfig, context: None) -> Any:
    from t2ikit.metrics.distances import FeatureDistance
    from t2ikit.metrics.fidelity import vgg16

    return FeatureDistance(config, vgg16(), {"precision": "precision", "recall": "recall"})


def _clip_distance(config: ClipFeatureConfig, context: None) -> Any:
    from t2ikit.metrics.clip_files import ClipNetwork
    from t2ikit.metrics.distances import FeatureDistance

    names = {"kernel": "kd-clip", "frechet": "fd-clip", "precision": "precision", "recall": "recall"}
    return FeatureDistance(config, ClipNetwork(config.model), names)


def _clip_score(config: ClipScoreConfig, context: None) -> Any:
    from t2ikit.metrics.clip_score import ClipScore

    return ClipScore(config)


def _lpips(config: LpipsConfig, context: None) -> Any:
    from t2ikit.metrics.perceptual import Lpips

    return Lpips(config)


def _colours(config: PlainConfig, context: None) -> Any:
    from t2ikit.metrics.colours import Colours

    return Colours(config)


def _neighbours(config: PlainConfig, context: None) -> Any:
    from t2ikit.metrics.neighbours import Neighbours

    return Neighbours(config)


def _one_step(config: OneStepConfig, context: Any) -> Any:
    from t2ikit.sampling.one_step import OneStepSampler

    return OneStepSampler(config.truncation, config.augmentation)


@hookimpl
def t2ikit_datasets() -> list[DatasetSpec]:
    """Embedded drawings, emoji, and captioned images in folders, tables, shards and on the Hub."""
    return [
        DatasetSpec("creatures", _creatures, CreaturesConfig, CREATURES_SUMMARY),
        DatasetSpec(
            "folder",
            _folder,
            FolderConfig,
            "a folder: images with metadata.jsonl or .csv, or with .txt files beside them",
            accepts=accepts_folder,
        ),
        DatasetSpec(
            "table", _table, TableConfig, "a .jsonl, .csv, .tsv or .parquet file", accepts=accepts_table
        ),
        DatasetSpec("hf", _hub, HubConfig, "hf:owner/name[:split], of the Hub", accepts=accepts_hub),
        DatasetSpec("wds", _shards, ShardsConfig, "wds:shards-{000..099}.tar", accepts=accepts_shards),
        DatasetSpec("openmoji", _openmoji, OpenmojiConfig, OPENMOJI_SUMMARY),
        DatasetSpec("fluent-emoji", _fluent_emoji, FluentEmojiConfig, FLUENT_EMOJI_SUMMARY),
    ]


@hookimpl
def t2ikit_text_encoders() -> list[TextEncoderSpec]:
    """The table of random word vectors, and pretrained encoders."""
    return [
        TextEncoderSpec("builtin", _builtin_text, BuiltinTextConfig, "fixed random word vectors"),
        TextEncoderSpec("t5", _pretrained, T5Config, "encoder of a T5, mT5 or Flan-T5"),
        TextEncoderSpec("clip", _pretrained, ClipTextConfig, "text tower of a CLIP"),
        TextEncoderSpec("hf", _pretrained, PretrainedConfig, "any encoder that transformers opens"),
    ]


@hookimpl
def t2ikit_metrics() -> list[MetricSpec]:
    """What `t2ikit evaluate` measures."""
    return [
        MetricSpec(
            "prompt-accuracy",
            _prompt_accuracy,
            PromptAccuracyConfig,
            "share of the caption's attributes drawn right",
        ),
        MetricSpec(
            "reader-distance", _reader_distance, FeatureConfig, "distances in features of the creature reader"
        ),
        MetricSpec(
            "reader-diversity",
            _reader_diversity,
            ReaderDiversityConfig,
            "how different a prompt's images are, in features of the creature reader",
        ),
        MetricSpec("fid", _fid, FeatureConfig, "KID and FID, by Inception-v3"),
        MetricSpec("precision-recall", _precision_recall, FeatureConfig, "fidelity and coverage, by VGG-16"),
        MetricSpec("clip-distance", _clip_distance, ClipFeatureConfig, "distances in CLIP features"),
        MetricSpec(
            "clip-diversity",
            _clip_diversity,
            ClipDiversityConfig,
            "how different a prompt's images are, in CLIP features",
        ),
        MetricSpec("clip-score", _clip_score, ClipScoreConfig, "fit of images to captions, by CLIP"),
        MetricSpec("lpips", _lpips, LpipsConfig, "perceptual distance to the real image, and diversity"),
        MetricSpec("colours", _colours, PlainConfig, "saturation, and noise on a plain border"),
        MetricSpec("neighbours", _neighbours, PlainConfig, "distance to the nearest training image"),
    ]


def _diffusers(config: Config, context: None) -> Any:
    from t2ikit.exporters.export import export_pipeline
    from t2ikit.pipeline import TextToImagePipeline

    return lambda run, out: export_pipeline(run, out, TextToImagePipeline)


@hookimpl
def t2ikit_exporters() -> list[ExporterSpec]:
    """For runs whose plugin has no pipeline of its own."""
    return [
        ExporterSpec(
            "diffusers", _diffusers, summary="a folder that TextToImagePipeline.from_pretrained opens"
        )
    ]


@hookimpl
def t2ikit_generators() -> list[GeneratorSpec]:
    """The student of a denoiser."""
    return [STUDENT]


@hookimpl
def t2ikit_critics() -> list[CriticSpec]:
    """What teaches a student."""
    return [SCORE]


@hookimpl
def t2ikit_losses() -> list[LossSpec]:
    """Distribution matching distillation."""
    return LOSSES


@hookimpl
def t2ikit_samplers() -> list[SamplerSpec]:
    """For one-step models."""
    return [SamplerSpec("one-step", _one_step, OneStepConfig, "one call, truncation", "OneStep")]


@hookimpl
def t2ikit_recipes() -> list[RecipeSpec]:
    """Distillation."""
    return [RECIPE]
