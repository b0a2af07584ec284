"""How the metrics are configured. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from t2ikit.config.base import Config

CLIP = "openai/clip-vit-base-patch32"


class FeatureConfig(Config):
    """What compares two sets of images by the features of a frozen network."""

    batch: int = Field(64, ge=1)
    """images looked at once; changes memory and time, not the result"""
    resamples: int = Field(100, ge=10, le=10000)
    """resamples behind the intervals; unless given here, of Frechet distances of large sets fewer"""


class ClipFeatureConfig(FeatureConfig):
    """The same with a CLIP's image tower."""

    model: str = CLIP
    """a folder, or an id on the Hub; distances of different models do not compare"""


class ClipScoreConfig(Config):
    """How well images fit their captions, by a CLIP."""

    model: str = CLIP
    """a folder, or an id on the Hub; scores of different models do not compare"""
    batch: int = Field(64, ge=1)
    """images looked at once; changes memory and time, not the result"""


class ReaderDiversityConfig(Config):
    """How different the images of a prompt are, in features of the creature reader."""

    batch: int = Field(64, ge=1)
    """images looked at once; changes memory and time, not the result"""


class ClipDiversityConfig(ReaderDiversityConfig):
    """The same with a CLIP's image tower."""

    model: str = CLIP
    """a folder, or an id on the Hub; distances of different models do not compare"""


class LpipsConfig(Config):
    """Perceptual distance (arXiv 1801.03924)."""

    net: Literal["alex", "vgg", "squeeze"] = "alex"
    """network below the learned distance; distances of different ones do not compare"""
    batch: int = Field(64, ge=1)
    """pairs looked at once; changes memory and time, not the result"""


class PlainConfig(Config):
    """No options."""
