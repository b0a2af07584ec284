"""Config classes of the metrics. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from t2ikit.config.base import Config

CLIP = "openai/clip-vit-base-patch32"


class FeatureConfig(Config):
    """Options of distances between two sets of images in the features of a frozen network."""

    batch: int = Field(64, ge=1)
    """images per batch; changes memory and time, not the result"""
    resamples: int = Field(100, ge=10, le=10000)
    """bootstrap samples for the intervals; by default fewer for Frechet distances of large sets"""


class ClipFeatureConfig(FeatureConfig):
    """The same with the image tower of a CLIP."""

    model: str = CLIP
    """a folder or a Hub id; distances of different models are not comparable"""


class ClipScoreConfig(Config):
    """How well images fit their captions, measured by a CLIP."""

    model: str = CLIP
    """a folder or a Hub id; scores of different models are not comparable"""
    batch: int = Field(64, ge=1)
    """images per batch; changes memory and time, not the result"""


class ReaderDiversityConfig(Config):
    """How much the images of a prompt differ, in features of the creature reader."""

    batch: int = Field(64, ge=1)
    """images per batch; changes memory and time, not the result"""


class ClipDiversityConfig(ReaderDiversityConfig):
    """The same with the image tower of a CLIP."""

    model: str = CLIP
    """a folder or a Hub id; distances of different models are not comparable"""


class LpipsConfig(Config):
    """Perceptual distance (arXiv 1801.03924)."""

    net: Literal["alex", "vgg", "squeeze"] = "alex"
    """backbone network; distances of different networks are not comparable"""
    batch: int = Field(64, ge=1)
    """pairs per batch; changes memory and time, not the result"""


class PlainConfig(Config):
    """No options."""
