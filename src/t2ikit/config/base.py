"""The bases of config classes. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Config(BaseModel):
    """Base of every config class: unknown keys are errors, values are frozen, docstrings are help."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, defer_build=True)


class DatasetConfig(Config):
    """What every dataset takes; a dataset's own config class adds to it."""

    spec: str
    """where the images come from: a dataset's name or a folder, as after --data"""
    size: int = Field(32, ge=8, le=1024)
    """height and width of the training images, pixels"""
    validation: float = Field(0.05, ge=0, lt=0.5)
    """share of the images held out of training for the validation loss; 0: none are"""
    hard_negatives: float = Field(0.0, ge=0, le=1)
    """share of wrong captions that are the right one with a word replaced or two swapped; 0: none are"""
    keep_on: Literal["auto", "device", "host"] = "auto"
    """where training images stay: device, host, or auto: on CUDA if they fill at most a quarter of it"""

    @property
    def image_channels(self) -> int:
        """Channels of its images: 3 is RGB, 4 RGB times alpha and alpha, 1 gray; others are its own."""
        return 3

    @property
    def random_crops(self) -> bool:
        """Whether training shows another part of an image each time."""
        return False

    @property
    def image_shapes(self) -> tuple[tuple[int, int], ...]:
        """Height and width that its images may have: of several, each batch is of one."""
        return ((self.size, self.size),)
