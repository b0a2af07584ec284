"""Samplers over diffusers' schedulers: each takes any denoiser, whatever it predicts.

Sources: DDPM, arXiv 2006.11239; DDIM, arXiv 2010.02502; DPM-Solver++, arXiv 2211.01095; UniPC, arXiv
2302.04867; Euler, arXiv 2206.00364 (algorithm 2 without churn); flow, arXiv 2403.03206.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
)
from torch import Tensor

from t2ikit import Denoiser, DenoiserSampler, Draws, GuidedDenoiser, ScheduledSampler, schedule_config
from t2ikit_imagen.configs import DDIMConfig, DDPMConfig, EulerConfig, FlowConfig, MultistepConfig


class DDPMSampler(ScheduledSampler[DDPMConfig]):
    """Ancestral sampling; at as many steps as the training schedule has, the process of the paper."""

    def scheduler(self, model: Denoiser) -> DDPMScheduler:
        """DDPMScheduler."""
        return DDPMScheduler.from_config(schedule_config(model))

    def options(self, draws: Draws) -> dict[str, Any]:
        """Noise of each image's own."""
        return {"generator": draws.generators}


class DDIMSampler(ScheduledSampler[DDIMConfig]):
    """DDIM; with eta 1 DDPM on fewer steps."""

    def scheduler(self, model: Denoiser) -> DDIMScheduler:
        """DDIMScheduler, whose last step ends in the clean image."""
        return DDIMScheduler.from_config(schedule_config(model), set_alpha_to_one=True)

    def options(self, draws: Draws) -> dict[str, Any]:
        """Noise of each image's own."""
        return {"eta": self.config.eta, "generator": draws.generators}


class DPMSolverSampler(ScheduledSampler[MultistepConfig]):
    """DPM-Solver++ multistep."""

    def scheduler(self, model: Denoiser) -> DPMSolverMultistepScheduler:
        """DPMSolverMultistepScheduler."""
        return DPMSolverMultistepScheduler.from_config(
            schedule_config(model), algorithm_type="dpmsolver++", solver_order=self.config.order
        )


class UniPCSampler(ScheduledSampler[MultistepConfig]):
    """UniPC multistep, on clean images."""

    def scheduler(self, model: Denoiser) -> UniPCMultistepScheduler:
        """UniPCMultistepScheduler."""
        return UniPCMultistepScheduler.from_config(
            schedule_config(model), predict_x0=True, solver_order=self.config.order
        )


class EulerSampler(ScheduledSampler[EulerConfig]):
    """Euler steps in sigma / alpha."""

    def scheduler(self, model: Denoiser) -> EulerDiscreteScheduler:
        """EulerDiscreteScheduler."""
        return EulerDiscreteScheduler.from_config(schedule_config(model))


class FlowSampler(DenoiserSampler[FlowConfig]):
    """Euler steps on the straight path x = (1 - sigma) x0 + sigma noise, for any denoiser.

    A model of a diffusion schedule is asked at the timestep of equal signal-to-noise ratio, of the image
    scaled to its variance: the two paths are one up to that scale (arXiv 2303.00848).
    """

    def denoise_loop(self, denoiser: GuidedDenoiser, x: Tensor, steps: int, draws: Draws) -> Iterator[Tensor]:
        """Images after each step."""
        scheduler = FlowMatchEulerDiscreteScheduler(shift=self.config.shift)
        scheduler.set_timesteps(sigmas=[1 - step / steps for step in range(steps)], device=x.device)
        for t, sigma in zip(scheduler.timesteps, scheduler.sigmas.tolist(), strict=False):
            velocity = (x - denoiser.at_flow(x, sigma)) / sigma
            x = scheduler.step(velocity, t, x).prev_sample
            yield x
