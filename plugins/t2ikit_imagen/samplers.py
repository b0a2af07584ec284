"""Samplers over diffusers' schedulers: each takes any denoiser, whatever it predicts.

A scheduler is told that the model predicts the clean picture (`prediction_type="sample"`), which a `Guide`
works out; timesteps are "trailing", so that sampling begins at the last one (arXiv 2305.08891, section 3.3).

Sources: DDPM, arXiv 2006.11239; DDIM, arXiv 2010.02502; DPM-Solver++, arXiv 2211.01095; UniPC, arXiv
2302.04867; Euler, arXiv 2206.00364 (algorithm 2 without churn); flow, arXiv 2403.03206.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
)
from torch import Tensor

from t2ikit import Condition, Denoiser, Draws, Sampler
from t2ikit_imagen.configs import (
    DDIMConfig,
    DDPMConfig,
    EulerConfig,
    FlowConfig,
    MultistepConfig,
    SamplerConfig,
)
from t2ikit_imagen.guidance import Guide

ConfigT = TypeVar("ConfigT", bound=SamplerConfig)


class DenoiserSampler(Sampler, Generic[ConfigT]):
    """The loop that all samplers of denoisers share."""

    def __init__(self, config: ConfigT) -> None:
        self.config = config
        self.steps, self.guidance = config.steps, config.guidance

    @abstractmethod
    def walk(self, guide: Guide, x: Tensor, steps: int, draws: Draws) -> Iterator[Tensor]:
        """Pictures after each step, from pure noise x (B, 3, H, W) of unit variance."""

    def schedule(self, model: Denoiser) -> Tensor:
        """Cumulative alphas (T,) of the model's own schedule."""
        return DDPMScheduler.from_config(schedule_config(model)).alphas_cumprod

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
        weight, count = self.guidance if guidance is None else guidance, steps or self.steps
        size = (model.image_size, model.image_size)
        if model.enlarges is not None and condition.level is None:
            condition = model.enlarges.augmented(condition, size, draws, self.config.augmentation)
        guide = Guide(model, condition, self.config, weight, self.schedule(model))
        x = draws.randn(3, model.image_size, model.image_size)
        for done, reached in enumerate(self.walk(guide, x, count, draws), 1):
            images = reached
            if progress is not None:
                progress(done, count)
        return images.clamp(-1, 1)


def schedule_config(model: Denoiser) -> dict[str, Any]:
    """A model's scheduler config as samplers use it: of clean pictures, trailing, with no clipping."""
    return {
        **model.scheduler_config,
        "prediction_type": "sample",
        "timestep_spacing": "trailing",
        "clip_sample": False,
        "thresholding": False,
    }


class ScheduledSampler(DenoiserSampler[ConfigT]):
    """A sampler whose steps are those of a diffusers scheduler on the diffusion schedule."""

    @abstractmethod
    def scheduler(self, model: Denoiser) -> Any:
        """The scheduler for a model's noise schedule."""

    def walk(self, guide: Guide, x: Tensor, steps: int, draws: Draws) -> Iterator[Tensor]:
        """Pictures after each step."""
        scheduler = self.scheduler(guide.model)
        scheduler.set_timesteps(steps, device=x.device)
        x = x * scheduler.init_noise_sigma
        for t in scheduler.timesteps:
            clean = guide.at_timestep(scheduler.scale_model_input(x, t), t)
            x = scheduler.step(clean, t, x, **self.options(draws)).prev_sample
            yield x

    def options(self, draws: Draws) -> dict[str, Any]:
        """What else the scheduler's `step` takes: nothing, unless it draws noise."""
        return {}


class DDPMSampler(ScheduledSampler[DDPMConfig]):
    """Ancestral sampling; at as many steps as the training schedule has, the process of the paper."""

    def scheduler(self, model: Denoiser) -> DDPMScheduler:
        """DDPMScheduler."""
        return DDPMScheduler.from_config(schedule_config(model))

    def options(self, draws: Draws) -> dict[str, Any]:
        """Noise of each picture's own."""
        return {"generator": draws.generators}


class DDIMSampler(ScheduledSampler[DDIMConfig]):
    """DDIM; with eta 1 DDPM on fewer steps."""

    def scheduler(self, model: Denoiser) -> DDIMScheduler:
        """DDIMScheduler, whose last step ends in the clean picture."""
        return DDIMScheduler.from_config(schedule_config(model), set_alpha_to_one=True)

    def options(self, draws: Draws) -> dict[str, Any]:
        """Noise of each picture's own."""
        return {"eta": self.config.eta, "generator": draws.generators}


class DPMSolverSampler(ScheduledSampler[MultistepConfig]):
    """DPM-Solver++ multistep."""

    def scheduler(self, model: Denoiser) -> DPMSolverMultistepScheduler:
        """DPMSolverMultistepScheduler."""
        return DPMSolverMultistepScheduler.from_config(
            schedule_config(model), algorithm_type="dpmsolver++", solver_order=self.config.order
        )


class UniPCSampler(ScheduledSampler[MultistepConfig]):
    """UniPC multistep, on clean pictures."""

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

    A model of a diffusion schedule is asked at the timestep of equal signal-to-noise ratio, of the picture
    scaled to its variance: the two paths are one up to that scale (arXiv 2303.00848).
    """

    def walk(self, guide: Guide, x: Tensor, steps: int, draws: Draws) -> Iterator[Tensor]:
        """Pictures after each step."""
        scheduler = FlowMatchEulerDiscreteScheduler(shift=self.config.shift)
        scheduler.set_timesteps(sigmas=[1 - step / steps for step in range(steps)], device=x.device)
        for t, sigma in zip(scheduler.timesteps, scheduler.sigmas.tolist(), strict=False):
            velocity = (x - guide.at_flow(x, sigma)) / sigma
            x = scheduler.step(velocity, t, x).prev_sample
            yield x
