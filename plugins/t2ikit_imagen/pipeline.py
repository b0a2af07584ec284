"""The denoiser as a diffusers pipeline, with a scheduler that can be swapped."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

from typing_extensions import Self

from t2ikit import Denoiser, Draws, UserError
from t2ikit.compose import Model
from t2ikit.pipeline import GeneratorModel, TextToImagePipeline
from t2ikit_imagen.configs import SamplerConfig
from t2ikit_imagen.samplers import ScheduledSampler, schedule_config


class GivenScheduler(ScheduledSampler[SamplerConfig]):
    """A sampler whose scheduler comes from outside.

    Args:
        config: steps, guidance and thresholding.
        given: a scheduler of diffusers for the diffusion schedule; it is not changed.

    Raises:
        UserError: it is for another kind of schedule.
    """

    def __init__(self, config: SamplerConfig, given: Any) -> None:
        super().__init__(config)
        if not hasattr(given, "alphas_cumprod"):
            raise UserError(
                f"{type(given).__name__} has no diffusion schedule",
                expected="a scheduler with alphas_cumprod, such as DDIMScheduler or UniPCMultistepScheduler",
                got=type(given).__name__,
                fix="choose another scheduler, or set pipeline.scheduler = None for the recipe's sampler",
            )
        self.given = given

    def scheduler(self, model: Denoiser) -> Any:
        """A fresh one like it, on the model's schedule, told that it is given clean pictures."""
        return type(self.given).from_config(self.given.config, **schedule_config(model))

    def options(self, draws: Draws) -> dict[str, Any]:
        """Noise of each picture's own, where a step draws any."""
        takes = inspect.signature(self.given.step).parameters
        eta = getattr(self.config, "eta", None)
        found: dict[str, Any] = {"generator": draws.generators} if "generator" in takes else {}
        return {**found, "eta": eta} if eta is not None and "eta" in takes else found


class ImagenPipeline(TextToImagePipeline):
    """Prompts, or prompts and small pictures, to pictures by denoising.

    Args:
        generator: the trained denoiser.
        text_encoder, tokenizer: of transformers; None where the recipe's encoder has no weights.
        scheduler: any of diffusers' for the diffusion schedule; None takes the recipe's sampler as it is.
        recipe: as in `TextToImagePipeline`.
    """

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
        if self.scheduler is None:
            return model
        config = model.recipe.parts["sampler"].config
        return replace(model, sampler=GivenScheduler(config, self.scheduler))
