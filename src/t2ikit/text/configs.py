"""Config classes of the text encoders. Imports no torch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from t2ikit.config.base import Config


class BuiltinTextConfig(Config):
    """Options of the built-in text encoder."""

    width: int = Field(64, ge=8, le=4096)
    """width of the word vectors"""
    length: int = Field(24, ge=2, le=512)
    """maximum number of tokens, including the start token; longer captions are cut"""


class PretrainedConfig(Config):
    """Any encoder that transformers can load, by Hub id or folder; its weights must be safetensors."""

    model: str
    """Hub id, or a folder with config.json, a tokenizer and *.safetensors"""
    revision: str | None = None
    """branch, tag or commit on the Hub; none: the newest, or the one in the local cache"""
    length: int = Field(64, ge=2, le=512)
    """maximum number of tokens; longer captions are cut"""
    padded: bool = False
    """treat padding as text, as DeepFloyd IF's pipeline does"""
    precision: Literal["fp32", "bf16"] = "fp32"
    """precision of the encoder and of the cached embeddings"""
    batch: int = Field(32, ge=1)
    """captions encoded at once"""
    cache: str | None = None
    """cache folder for embeddings; none: $T2IKIT_CACHE, or else the user's cache folder"""

    @field_validator("model")
    @classmethod
    def _from_anywhere(cls, value: str) -> str:
        folder = Path(value).expanduser()
        return os.path.abspath(folder) if folder.is_dir() else value


class T5Config(PretrainedConfig):
    """The encoder of a T5, mT5 or Flan-T5."""

    model: str = "google-t5/t5-small"
    """Hub id, or a folder with config.json, a tokenizer and *.safetensors"""


class ClipTextConfig(PretrainedConfig):
    """The text tower of a CLIP: tokens, and the pooled output before the projection."""

    model: str = "openai/clip-vit-base-patch32"
    """Hub id, or a folder with config.json, a tokenizer and *.safetensors"""
    length: int = Field(77, ge=2, le=512)
    """maximum number of tokens; longer captions are cut; OpenAI's models have 77"""
