"""Options of the embedded dataset `creatures`; imports no torch."""

from __future__ import annotations

from pydantic import Field

from t2ikit.specs import DatasetConfig

SUMMARY = "drawn creatures with captions: colours x species x action x eyes, endless and offline"


class CreaturesConfig(DatasetConfig):
    """Drawings of creatures, made as they are asked for."""

    spec: str = "creatures"
    """where the pictures come from: the name of this dataset"""
    size: int = Field(default=32, ge=16, le=1024)
    """height and width of the pictures, pixels"""
    count: int = Field(default=20_000, ge=2)
    """number of pictures, training and validation together"""
    seed: int = Field(default=0, ge=0)
    """which pictures: another seed draws other pictures of the same kind"""
