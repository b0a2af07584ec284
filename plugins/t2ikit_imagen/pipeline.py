"""The denoiser as a diffusers pipeline, with a scheduler that can be swapped."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any, ClassVar

import torch
from typing_extensions import Self

from t2ikit import (
    Denoiser,
    Draws,
    GeneratorModel,
    Model,
    SamplerConfig,
    ScheduledSampler,
    TextToImagePipeline,
    UserError,
    schedule_config,
)

WORKING = (
    "DDIMScheduler",
    "DPMSolverMultistepScheduler",
    "UniPCMultistepScheduler",
    "EulerDiscreteScheduler",
)
"""Some that take clean images, for messages."""


class GivenScheduler(ScheduledSampler[SamplerConfig]):
    """A sampler whose scheduler comes from outside.

    Args:
        config: steps, guidance and thresholding.
        given: a scheduler of diffusers for the diffusion schedule, which takes clean images; not changed.
        model: to sample.

    Raises:
        UserError: it is for another kind of schedule or prediction.
    """

    def __init__(self, config: SamplerConfig, given: Any, model: Denoiser) -> None:
        super().__init__(config)
        self.given = given
        problem = self._problem(model)
        if problem is not None:
            raise UserError(
                f"{type(given).__name__} cannot sample this model",
                expected="a scheduler of the diffusion schedule that takes clean images: "
                + ", ".join(WORKING),
                got=problem,
                fix="choose one of those, or set pipeline.scheduler = None for the recipe's sampler",
            )

    def _problem(self, model: Denoiser) -> str | None:
        """Why the scheduler cannot take two steps with clean images; None where it can."""
        if not hasattr(self.given, "alphas_cumprod"):
            return "it has no diffusion schedule (alphas_cumprod)"
        x, options = torch.zeros(1, 3, 8, 8), self.options(Draws(torch.zeros(1, dtype=torch.long), "trial"))
        try:
            scheduler = self.scheduler(model)
            scheduler.set_timesteps(2)
            for t in scheduler.timesteps:
                x = scheduler.step(scheduler.scale_model_input(x, t), t, x, **options).prev_sample
        except (
            ArithmeticError,
            AttributeError,
            ImportError,
            LookupError,
            RuntimeError,
            TypeError,
            ValueError,
        ) as e:
            return f"{type(e).__name__}: {' '.join(str(e).split())[:200]}"
        return None

    def scheduler(self, model: Denoiser) -> Any:
        """A fresh one like it, on the model's schedule, told that it is given clean images."""
        return type(self.given).from_config(self.given.config, **schedule_config(model))

    def options(self, draws: Draws) -> dict[str, Any]:
        """Noise of each image's own, where a step draws any."""
        takes = inspect.signature(self.given.step).parameters
        eta = getattr(self.config, "eta", None)
        found: dict[str, Any] = {"generator": draws.generators} if "generator" in takes else {}
        return {**found, "eta": eta} if eta is not None and "eta" in takes else found


class ImagenPipeline(TextToImagePipeline):
    """Prompts, or prompts and small images, to images by denoising.

    Args:
        generator: the trained denoiser.
        text_encoder, tokenizer: of transformers; None where the recipe's encoder has no weights.
        scheduler: of diffusers, for the diffusion schedule, and one that takes clean images
            (`prediction_type` "sample"): DDIM, DPM-Solver++, UniPC, Euler and others. None takes the recipe's
            sampler as it is.
        recipe: as in `TextToImagePipeline`.
    """

    family: ClassVar[Any] = Denoiser
    _optional_components = ["text_encoder", "tokenizer", "scheduler"]

    def __init__(
        self,
        generator: GeneratorModel,
        text_encoder: Any = None,
        tokenizer: Any = None,
        scheduler: Any = None,
        recipe: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(generator, text_encoder, tokenizer, recipe)
        self.register_modules(scheduler=scheduler)

    @classmethod
    def from_run(cls, run: Any, *, weights: str = "ema", checkpoint: int | None = None) -> Self:
        """The pipeline of a run folder, with the scheduler of its sampler."""
        pipeline = super().from_run(run, weights=weights, checkpoint=checkpoint)
        model = pipeline.model()
        if isinstance(model.sampler, ScheduledSampler) and isinstance(model.generator, Denoiser):
            pipeline.register_modules(scheduler=model.sampler.scheduler(model.generator))
        return pipeline

    @property
    def unet(self) -> Any:
        """diffusers' UNet2DConditionModel inside the denoiser."""
        return self.generator.generator.unet

    def _sampling(self, model: Model) -> Model:
        if self.scheduler is None or not isinstance(model.generator, Denoiser):
            return model
        config = model.recipe.parts["sampler"].config
        return replace(model, sampler=GivenScheduler(config, self.scheduler, model.generator))
