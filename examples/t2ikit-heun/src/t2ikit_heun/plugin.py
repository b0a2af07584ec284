"""What t2ikit is told of the sampler. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from t2ikit import Context, SamplerConfig, SamplerSpec, hookimpl

if TYPE_CHECKING:
    from t2ikit import Sampler


class HeunConfig(SamplerConfig):
    """Options of the sampler, beside those of every sampler of denoisers."""

    rho: float = Field(1.0, ge=0.5, le=10)
    """spacing of the noise levels; 1: even, above 1: shorter steps at low noise"""


def build(config: HeunConfig, context: Context) -> Sampler:
    """The sampler, for any denoiser."""
    from t2ikit_heun.sampler import Heun

    return Heun(config)


@hookimpl
def t2ikit_samplers() -> list[SamplerSpec]:
    """One sampler."""
    return [SamplerSpec("heun", build, HeunConfig, "Heun's second-order steps, two calls each")]
