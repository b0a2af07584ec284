"""Options of the embedded dataset `creatures`; imports no torch."""

from __future__ import annotations

from pydantic import Field, model_validator
from typing_extensions import Self

from t2ikit.registry.specs import DatasetConfig

SUMMARY = "drawn creatures with captions: colours x species x action x eyes, endless and offline"


class CreaturesConfig(DatasetConfig):
    """Drawings of creatures, made as they are asked for."""

    spec: str = "creatures"
    """where the images come from: the name of this dataset"""
    size: int = Field(default=32, ge=16, le=1024)
    """height and width of the images, pixels"""
    count: int = Field(default=20_000, ge=1)
    """number of images, training and validation together"""
    seed: int = Field(default=0, ge=0)
    """which images: another seed draws other images of the same kind"""

    @model_validator(mode="after")
    def _has_something_to_train_on(self) -> Self:
        if self.count == 1 and self.validation:
            raise ValueError("a single image can be trained on with validation=0 only")
        return self
