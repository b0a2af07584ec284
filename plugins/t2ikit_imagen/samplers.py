"""Samplers over diffusers' schedulers.

Sources: DPM-Solver++, arXiv 2211.01095; classifier-free guidance, arXiv 2207.12598; static and dynamic
thresholding, Imagen (arXiv 2205.11487, section 2.3); trailing timesteps, arXiv 2305.08891 (section 3.3).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers import DPMSolverMultistepScheduler
from torch import Tensor

from t2ikit import Condition, Denoiser, Draws, Sampler, TextEmbedding
from t2ikit_imagen.configs import DPMSolverConfig

# diffusers clips to `sample_max_value` after taking the percentile: 1 is static clipping, and a large
# value leaves the percentile alone, as Imagen has it.
THRESHOLDING: dict[str, dict[str, Any]] = {
    "none": {"thresholding": False},
    "static": {"thresholding": True, "sample_max_value": 1.0},
    "dynamic": {"thresholding": True, "sample_max_value": 100.0},
}


def guided(model: Denoiser, x: Tensor, t: Tensor, condition: Condition, guidance: float) -> Tensor:
    """empty + guidance (text - empty), both branches in one call; one branch alone where one suffices."""
    count = len(x)
    empty = condition.empty.expand(count)
    if guidance == 1:
        return model.denoise(x, t, condition)
    if guidance == 0:
        return model.denoise(x, t, Condition(condition.captions, empty, condition.empty, condition.low_res))
    low_res = None if condition.low_res is None else condition.low_res.repeat(2, 1, 1, 1)
    both = Condition(
        condition.captions * 2, TextEmbedding.cat([empty, condition.text]), condition.empty, low_res
    )
    without, with_text = model.denoise(x.repeat(2, 1, 1, 1), t.repeat(2), both).float().chunk(2)
    return without + guidance * (with_text - without)


class DPMSolverSampler(Sampler):
    """DPM-Solver++ multistep, second order, on trailing timesteps."""

    def __init__(self, config: DPMSolverConfig) -> None:
        self.config = config
        self.steps, self.guidance = config.steps, config.guidance

    def scheduler(self, model: Denoiser) -> DPMSolverMultistepScheduler:
        """The scheduler for a model's noise schedule."""
        return DPMSolverMultistepScheduler.from_config(
            model.scheduler_config,
            algorithm_type="dpmsolver++",
            timestep_spacing="trailing",
            dynamic_thresholding_ratio=self.config.percentile,
            **THRESHOLDING[self.config.thresholding],
        )

    @torch.no_grad()
    def __call__(
        self,
        model: Denoiser,
        condition: Condition,
        *,
        steps: int | None = None,
        guidance: float | None = None,
        draws: Draws,
        progress: Callable[[int, int], None] | None = None,
    ) -> Tensor:
        """Pictures (B, 3, H, W) in [-1, 1]."""
        weight = self.guidance if guidance is None else guidance
        scheduler = self.scheduler(model)
        scheduler.set_timesteps(steps or self.steps, device=draws.device)
        x = draws.randn(3, model.image_size, model.image_size) * scheduler.init_noise_sigma
        for done, t in enumerate(scheduler.timesteps, 1):
            output = guided(model, x, t.expand(len(x)), condition, weight).float()
            x = scheduler.step(output, t, x).prev_sample
            if progress is not None:
                progress(done, len(scheduler.timesteps))
        return x.clamp(-1, 1)
