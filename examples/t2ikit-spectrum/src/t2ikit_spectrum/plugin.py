"""What t2ikit is told of the metric. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from t2ikit import Config, MetricSpec, hookimpl

if TYPE_CHECKING:
    from t2ikit import Metric


class SpectrumConfig(Config):
    """Options of the metric."""

    floor: float = Field(1e-6, gt=0)
    """power added at each frequency, so that flat images have a logarithm; white noise has 1"""
    resamples: int = Field(200, ge=0)
    """bootstrap samples of the 95 % interval; 0: no interval"""


def build(config: SpectrumConfig, context: Any) -> Metric:
    """The metric; `context` is None."""
    from t2ikit_spectrum.metric import Spectrum

    return Spectrum(config)


@hookimpl
def t2ikit_metrics() -> list[MetricSpec]:
    """One metric."""
    return [MetricSpec("spectrum", build, SpectrumConfig, "distance of the power spectra, decibels")]
