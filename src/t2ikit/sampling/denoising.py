"""The loop that samplers of denoisers share, for any denoiser, whatever it predicts.

A scheduler is told that the model predicts the clean images (`prediction_type="sample"`), which a
`GuidedDenoiser` works out; timesteps are "trailing", so that sampling begins at the last one (arXiv
2305.08891, section 3.3).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from t2ikit.core.batch import Condition
from t2ikit.core.interfaces import Denoiser, Sampler
from t2ikit.core.rng import Draws
from t2ikit.errors import UserError
from t2ikit.sampling.configs import SamplerConfig
from t2ikit.sampling.editing.edit import ImageEdit, start_of
from t2ikit.sampling.guidance import GuidedDenoiser, clamp_images, model_schedule

StepHook = Callable[[int, float, Tensor], bool]
"""Called after a step with its number from 0, the timestep, and the noisy images (B, C, H, W), which it may
change in place; false ends sampling there."""
ConfigT = TypeVar("ConfigT", bound=SamplerConfig)


class DenoiserSampler(Sampler, Generic[ConfigT]):
    """A sampler of denoisers: what it adds is `denoise_loop`, the images after each step.

    Any of them can begin at an image and repaint a part of it, since each asks the denoiser for clean images:
    it is given the image itself in the steps that are left out, and the part that is kept in all others.

    Args:
        config: steps, guidance, thresholding and what the sampler itself takes.

    Attributes:
        guide: the worse model that autoguidance guides away from, which `config.guidance_model` names and
            whoever opens the run gives; None: there is none.
        on_step: called after each step that is taken, batch by batch; None: nothing is.

    Example:
        >>> class Euler(DenoiserSampler[SamplerConfig]):
        ...     def denoise_loop(self, denoiser, x, steps, draws):
        ...         for step in range(steps):
        ...             sigma, after = 1 - step / steps, 1 - (step + 1) / steps
        ...             clean = denoiser.at_flow(x, sigma)
        ...             x = clean + after / sigma * (x - clean)
        ...             yield x
    """

    guide: Denoiser | None = None
    on_step: StepHook | None = None

    def __init__(self, config: ConfigT) -> None:
        self.config = config
        self.steps, self.guidance = config.steps, config.guidance

    @abstractmethod
    def denoise_loop(self, denoiser: GuidedDenoiser, x: Tensor, steps: int, draws: Draws) -> Iterator[Tensor]:
        """Images after each of the steps, from pure noise x (B, C, H, W) of unit variance."""

    def schedule(self, model: Denoiser) -> Tensor:
        """Cumulative alphas (T,) of the model's own schedule."""
        return model_schedule(model)

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
        edit: ImageEdit | None = None,
    ) -> Tensor:
        """Images (B, C, H, W) in [-1, 1]; NaN where the model gave what is not finite.

        `edit` holds B images to begin at and what of them is repainted; None: sampling begins at noise.
        """
        self._check_guide()
        weight, count = self.guidance if guidance is None else guidance, steps or self.steps
        size = model.shape_of(condition)
        if model.super_resolution is not None and condition.noise_level is None:
            condition = model.super_resolution.augmented(condition, size, draws, self.config.augmentation)
        schedule, beside = self.schedule(model), (self.graphs, self.guide)
        denoiser = GuidedDenoiser(model, condition, self.config, weight, schedule, *beside, edit)
        denoiser.skip = 0 if edit is None else edit.skipped(count)
        x, skipped = draws.randn(model.image_channels, *size), denoiser.skip
        for done, images in enumerate(self.denoise_loop(denoiser, x, count, draws), 1):
            denoiser.skip = max(0, denoiser.skip - 1)
            if progress is not None:
                progress(done, count)
            if self.on_step is None or done <= skipped:
                continue
            if not self.on_step(done - 1 - skipped, denoiser.timestep, images):
                break
        self.function_evaluations += denoiser.function_evaluations
        return clamp_images(images) if edit is None else edit.kept(clamp_images(images))

    def _check_guide(self) -> None:
        """Refuse to sample without the guide that the options name."""
        if self.config.guidance_model and self.guide is None:
            raise UserError(
                "sampler.guidance_model: the model that guides was not opened",
                expected="a run sampled with `t2ikit sample`, `evaluate` or t2ikit.sample, which open it",
                got=self.config.guidance_model,
                fix="leave it out, or set the sampler's `guide` to a Denoiser",
            )


class ScheduledSampler(DenoiserSampler[ConfigT]):
    """A sampler whose steps are those of a diffusers scheduler on the diffusion schedule.

    Example:
        >>> class DEIS(ScheduledSampler[SamplerConfig]):
        ...     def scheduler(self, model):
        ...         return DEISMultistepScheduler.from_config(schedule_config(model))
    """

    @abstractmethod
    def scheduler(self, model: Denoiser) -> Any:
        """The scheduler for a model's noise schedule, made from its `schedule_config`."""

    def denoise_loop(self, denoiser: GuidedDenoiser, x: Tensor, steps: int, draws: Draws) -> Iterator[Tensor]:
        """Images after each of the scheduler's steps; those that an edit leaves out change nothing."""
        scheduler = self.scheduler(denoiser.model)
        scheduler.set_timesteps(steps, device=x.device)
        first, x = start_of(scheduler, denoiser.edit, x, steps)
        for place, t in enumerate(scheduler.timesteps):
            if place >= first:  # a multistep scheduler has no history of what was left out
                clean = denoiser.at_timestep(scheduler.scale_model_input(x, t), t)
                x = scheduler.step(clean, t, x, **self.options(draws)).prev_sample
            yield x

    def options(self, draws: Draws) -> dict[str, Any]:
        """What else the scheduler's `step` takes: nothing, unless it adds noise."""
        return {}
