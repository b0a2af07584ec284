"""Options that all sets of captioned images share. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator

from t2ikit.registry.specs import Config, DatasetConfig

SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
"""`hf:` and the like; one letter alone is a drive."""
PLACE = "{caption}"
"""Where a template has the caption."""


class CaptionedConfig(DatasetConfig):
    """How captioned images are read, whatever they come from."""

    background: str = "white"
    """colour behind transparent pixels and beside fitted images: a name or #rrggbb"""
    fit: Literal["crop", "pad"] = "crop"
    """images that are not square: crop the middle, or pad with the background so that nothing is lost"""
    flip: bool = False
    """show each training image mirrored too, as one more image; not where captions say left or right"""
    templates: tuple[str, ...] = (PLACE,)
    """what a caption is put into, each giving one more caption: ["{caption}", "a drawing of {caption}"]"""
    max_bad: float = Field(0.5, ge=0, le=1)
    """share of the images that may be unusable; they are skipped and told, beyond it nothing starts"""
    cache: str | None = None
    """folder for resized images; none: $T2IKIT_CACHE, or else the user's cache folder"""

    @field_validator("background")
    @classmethod
    def _is_a_colour(cls, value: str) -> str:
        from PIL import ImageColor

        ImageColor.getrgb(value)
        return value

    @field_validator("templates")
    @classmethod
    def _have_a_place(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or any(template.count(PLACE) != 1 for template in value):
            raise ValueError(f"each template holds {PLACE} once")
        return value


class SplitConfig(CaptionedConfig):
    """Captioned images whose folders, files or rows may be named as splits."""

    splits: bool = True
    """keep parts named as splits (train, and validation, valid, val, dev or test); false: mix them"""


def before_splits(config_class: type[Config], table: Mapping[str, Any]) -> dict[str, Any]:
    """A run's data table as it was meant: before there was `splits`, what is named as splits was mixed."""
    old = "splits" in config_class.model_fields and "splits" not in table
    return {**table, **({"splits": False} if old else {})}
