"""A denoiser asked for clean images at any noise level, whatever it predicts and on whichever schedule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from t2ikit.config.validation import validate
from t2ikit.core.batch import Condition
from t2ikit.core.interfaces import Denoiser
from t2ikit.errors import UserError
from t2ikit.nn.noise import FLOW, noise_levels, to_clean
from t2ikit.registry.registry import Registry
from t2ikit.registry.specs import Context
from t2ikit.sampling.guidance import guided, model_schedule

LEAST_SIGNAL = 0.2
"""Least alpha / sigma at which the clean image of an epsilon model is asked for: it divides by alpha."""


class CleanDenoiser(nn.Module):
    """A denoiser whose output is turned into clean images.

    Args:
        network: any denoiser.

    Attributes:
        last: the noisiest timestep at which its clean images are well-posed, as a share of the schedule's T.
    """

    alphas_cumprod: Tensor

    def __init__(self, network: Denoiser) -> None:
        super().__init__()
        self.network = network
        self.kind: str = network.scheduler_config["prediction_type"]
        schedule = model_schedule(network).float()
        self.register_buffer("alphas_cumprod", schedule, persistent=False)
        self.last = _last(schedule, self.kind)

    def timesteps(self, level: Tensor) -> Tensor:
        """Timesteps (B,) of noise levels t/T (B,) in [0, 1], none beyond the last that is well-posed."""
        count = len(self.alphas_cumprod)
        scaled = level.clamp(max=self.last) * count
        return scaled if self.kind == FLOW else scaled.long().clamp(max=round(self.last * count) - 1)

    def add_noise(self, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """alpha clean + sigma noise, (B, 3, H, W), at timesteps t (B,)."""
        alpha, sigma = self.levels(t)
        return alpha * clean + sigma * noise

    def levels(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """alpha and sigma, each (B, 1, 1, 1), at timesteps t (B,)."""
        return noise_levels(self.kind, self.alphas_cumprod, t)

    def forward(self, x: Tensor, t: Tensor, condition: Condition, guidance: float = 1.0) -> Tensor:
        """Clean images (B, 3, H, W) for noisy ones x (B, 3, H, W) at timesteps t (B,)."""
        output = guided(self.network, x, t, condition, guidance).float()
        return to_clean(self.kind, output, x, *self.levels(t))


def _last(schedule: Tensor, kind: str) -> float:
    """The greatest level t/T to ask at: for epsilon, the last with alpha / sigma >= LEAST_SIGNAL."""
    if kind != "epsilon":
        return 1.0
    signal = (schedule / (1 - schedule)).sqrt() >= LEAST_SIGNAL
    return float(signal.sum().clamp_min(1)) / len(schedule)


def build_denoiser(table: Mapping[str, Any], context: Context, key: str) -> Denoiser:
    """The denoiser that a table describes.

    Args:
        table: `use` and its options.
        context: of the part that it is built into.
        key: where the table stands in the recipe, for messages.

    Raises:
        UserError: there is no table, no such generator, or it is no denoiser.
    """
    if "use" not in table:
        raise UserError(
            f"{key} is missing: there is no denoiser to distil",
            expected="a denoiser's table, which the run to distil has",
            got="nothing",
            fix="t2ikit distil RUN",
        )
    registry: Registry = context.registry or Registry.load()
    entry = registry.find("generators", str(table["use"]))
    options = {name: value for name, value in table.items() if name != "use"}
    network = entry.spec.build(validate(entry.spec.config, options, where=key, key=key), context)
    if not isinstance(network, Denoiser):
        raise UserError(
            f"{key}.use: {entry.canonical} is no denoiser",
            expected="a generator of the kind Denoiser",
            got=type(network).__name__,
            fix="distil a diffusion run",
        )
    return network
