"""The parts that come with t2ikit itself, as the plugin `t2ikit`; imports torch only when one is built."""

from __future__ import annotations

from typing import Any

from t2ikit.data.creatures_config import SUMMARY, CreaturesConfig
from t2ikit.data.folder_config import FolderConfig, accepts_folder
from t2ikit.data.openmoji_config import SUMMARY as OPENMOJI
from t2ikit.data.openmoji_config import OpenmojiConfig
from t2ikit.data.shards_config import ShardsConfig, accepts_shards
from t2ikit.data.table_config import HubConfig, TableConfig, accepts_hub, accepts_table
from t2ikit.hookspecs import hookimpl
from t2ikit.metrics.prompt_accuracy import PromptAccuracyConfig
from t2ikit.specs import DatasetSpec, MetricSpec, TextEncoderSpec
from t2ikit.text.builtin_config import BuiltinTextConfig
from t2ikit.text.pretrained_config import ClipTextConfig, PretrainedConfig, T5Config


def _creatures(config: CreaturesConfig, context: None) -> Any:
    from t2ikit.data.creatures import Creatures

    return Creatures(config)


def _folder(config: FolderConfig, context: None) -> Any:
    from t2ikit.data.folder import open_folder

    return open_folder(config)


def _table(config: TableConfig, context: None) -> Any:
    from t2ikit.data.table import open_table

    return open_table(config)


def _hub(config: HubConfig, context: None) -> Any:
    from t2ikit.data.hub import open_hub

    return open_hub(config)


def _shards(config: ShardsConfig, context: None) -> Any:
    from t2ikit.data.shards import open_shards

    return open_shards(config)


def _openmoji(config: OpenmojiConfig, context: None) -> Any:
    from t2ikit.data.openmoji import open_openmoji

    return open_openmoji(config)


def _builtin_text(config: BuiltinTextConfig, context: None) -> Any:
    from t2ikit.text.builtin import BuiltinTextEncoder

    return BuiltinTextEncoder(config)


def _pretrained(config: PretrainedConfig, context: None) -> Any:
    from t2ikit.text.pretrained import PretrainedEncoder

    return PretrainedEncoder(config)


def _prompt_accuracy(config: PromptAccuracyConfig, context: None) -> Any:
    from t2ikit.metrics.prompt_accuracy import PromptAccuracy

    return PromptAccuracy(config)


@hookimpl
def t2ikit_datasets() -> list[DatasetSpec]:
    """Embedded drawings, emoji, and captioned pictures in folders, tables, shards and on the Hub."""
    return [
        DatasetSpec("creatures", _creatures, CreaturesConfig, SUMMARY),
        DatasetSpec(
            "folder",
            _folder,
            FolderConfig,
            "a folder: pictures with metadata.jsonl or .csv, or with .txt files beside them",
            accepts=accepts_folder,
        ),
        DatasetSpec("table", _table, TableConfig, "a .jsonl or .parquet file", accepts=accepts_table),
        DatasetSpec("hf", _hub, HubConfig, "hf:owner/name[:split], of the Hub", accepts=accepts_hub),
        DatasetSpec("wds", _shards, ShardsConfig, "wds:shards-{000..099}.tar", accepts=accepts_shards),
        DatasetSpec("openmoji", _openmoji, OpenmojiConfig, OPENMOJI),
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
    """Accuracy of creatures' attributes."""
    return [
        MetricSpec(
            "prompt-accuracy",
            _prompt_accuracy,
            PromptAccuracyConfig,
            "share of the caption's attributes drawn right",
        )
    ]
