"""The parts that come with t2ikit itself, as the plugin `t2ikit`; imports torch only when one is built."""

from __future__ import annotations

from typing import Any

from t2ikit.data.creatures_config import SUMMARY, CreaturesConfig
from t2ikit.data.folder_config import FolderConfig, accepts_folder
from t2ikit.hookspecs import hookimpl
from t2ikit.metrics.prompt_accuracy import PromptAccuracyConfig
from t2ikit.specs import DatasetSpec, MetricSpec, TextEncoderSpec
from t2ikit.text.builtin_config import BuiltinTextConfig


def _creatures(config: CreaturesConfig, context: None) -> Any:
    from t2ikit.data.creatures import Creatures

    return Creatures(config)


def _folder(config: FolderConfig, context: None) -> Any:
    from t2ikit.data.folder import Folder

    return Folder(config)


def _builtin_text(config: BuiltinTextConfig, context: None) -> Any:
    from t2ikit.text.builtin import BuiltinTextEncoder

    return BuiltinTextEncoder(config)


def _prompt_accuracy(config: PromptAccuracyConfig, context: None) -> Any:
    from t2ikit.metrics.prompt_accuracy import PromptAccuracy

    return PromptAccuracy(config)


@hookimpl
def t2ikit_datasets() -> list[DatasetSpec]:
    """Embedded drawings, and a folder of captioned pictures."""
    return [
        DatasetSpec("creatures", _creatures, CreaturesConfig, SUMMARY),
        DatasetSpec(
            "folder",
            _folder,
            FolderConfig,
            "a folder: pictures with metadata.jsonl, or with .txt files beside them",
            accepts=accepts_folder,
        ),
    ]


@hookimpl
def t2ikit_text_encoders() -> list[TextEncoderSpec]:
    """The table of random word vectors."""
    return [TextEncoderSpec("builtin", _builtin_text, BuiltinTextConfig, "fixed random word vectors")]


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
