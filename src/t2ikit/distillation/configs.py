"""Config classes of distillation. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator
from typing_extensions import Self

from t2ikit.config.base import Config

Fraction = Annotated[float, Field(ge=0, le=1)]


class NetworkConfig(Config):
    """A denoiser within a part."""

    network: dict[str, Any] = Field(default_factory=dict)
    """the denoiser's table, `use` and its options, as the teacher's recipe has it; `t2ikit distil` sets it"""


class StudentConfig(NetworkConfig):
    """Options of a one-step student."""

    calls: int = Field(1, ge=1, le=8)
    """calls of the network for an image; more than one: noise is added again between them"""
    start: Fraction = 0.0
    """noise level t/T of the first call; 0: the last one, or of epsilon the last with a signal to speak of"""


class ScoreConfig(NetworkConfig):
    """Options of the pair of denoisers that teach a student."""


class MatchingConfig(Config):
    """Options of distribution matching."""

    guidance: float = Field(2.5, ge=0, le=50)
    """classifier-free guidance weight of the teacher"""
    low: Fraction = 0.02
    """least noise level t/T at which teacher and score are compared"""
    high: Fraction = 0.98
    """greatest noise level t/T at which they are compared"""

    @model_validator(mode="after")
    def _range_is_one(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low must be below high, got {self.low} and {self.high}")
        return self


class ScoreLossConfig(Config):
    """Options of the score network's denoising loss."""

    gamma: float = Field(10.0, gt=0)
    """maximum weight of an error in the clean image"""
