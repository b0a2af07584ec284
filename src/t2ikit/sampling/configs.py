"""Options shared by the samplers of denoisers. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from t2ikit.config.base import Config

Fraction = Annotated[float, Field(ge=0, le=1)]


class OneStepConfig(Config):
    """Options of the sampler of one-step models."""

    truncation: Fraction = 1.0
    """1: as trained; towards 0: fewer artefacts and less variety"""
    augmentation: Fraction = 0.0
    """super-resolution: level of the noise added to the image to upscale"""


class SamplerConfig(Config):
    """Options of every sampler of denoisers."""

    steps: int = Field(20, ge=1, le=10000)
    """U-Net calls"""
    guidance: float = Field(3.0, ge=0, le=50)
    """classifier-free guidance weight; 1: none, 0: the caption is ignored"""
    guidance_interval: tuple[Fraction, Fraction] = (0.0, 1.0)
    """range of noise levels t/T with guidance and autoguidance, weight 1 elsewhere (arXiv 2404.07724)"""
    guidance_model: str = ""
    """autoguidance: a worse model to guide away from: another run, or self for this run; then :STEP, :raw or
    :ema=WIDTH for other than its newest EMA weights (runs/small, self:500, self:ema=0.2); empty: none"""
    autoguidance: float = Field(2.0, ge=0, le=50)
    """weight of autoguidance beside that of guidance; 1: none (arXiv 2406.02507)"""
    thresholding: Literal["none", "static", "dynamic"] = "dynamic"
    """how to keep the predicted image in range: not at all, by clipping, or by percentile (Imagen)"""
    percentile: float = Field(0.95, gt=0, le=1)
    """dynamic thresholding: share of values left unclipped"""
    augmentation: float = Field(0.2, ge=0, le=1)
    """super-resolution: level of the noise added to the image to upscale; 0: none, 1: pure noise"""
    maximum: float = Field(100.0, ge=1)
    """dynamic thresholding: maximum divisor (Imagen has none, DeepFloyd IF 1.5)"""

    @model_validator(mode="after")
    def _interval_is_one(self) -> Self:
        low, high = self.guidance_interval
        if low > high:
            raise ValueError(f"guidance_interval must go from low to high noise, got [{low}, {high}]")
        return self
