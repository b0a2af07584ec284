"""A trained model as a diffusers pipeline: everything that sampling needs in one folder.

`TextToImagePipeline.from_pretrained(folder)` opens what `t2ikit export RUN --format diffusers` wrote; plugins
give it the name of their family and what is theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from diffusers import ImagePipelineOutput
from typing_extensions import Self

from t2ikit.core.interfaces import Generator, TextEncoder
from t2ikit.core.shapes import Shape
from t2ikit.errors import UserError
from t2ikit.exporters.generator_model import GeneratorModel
from t2ikit.exporters.pipeline_calls import (
    UnsupportedMethods,
    as_output,
    called_with,
    noise_of,
    refuse_options,
    shape_called,
    whole,
)
from t2ikit.exporters.pipeline_checks import check_installed, check_parts, prompts_of
from t2ikit.exporters.pipeline_files import PipelineFiles
from t2ikit.exporters.pipeline_images import Images, image_options, negative_of
from t2ikit.exporters.pipeline_model import check_size, extra_of, recipe_of, text_encoder_of
from t2ikit.exporters.pipeline_steps import IMAGES, StepCallback, call_between_steps, step_bar
from t2ikit.recipes.compose import Model, build_sampler
from t2ikit.recipes.recipe import SAMPLING, Part
from t2ikit.registry.registry import Registry
from t2ikit.registry.specs import Context
from t2ikit.runs.create import portable
from t2ikit.runs.open import open_run
from t2ikit.runs.run import Run
from t2ikit.sampling.images import sample_images
from t2ikit.sampling.open import check_call
from t2ikit.text.vocabulary import warn_of_prompts


class TextToImagePipeline(UnsupportedMethods, PipelineFiles):
    """Prompts to images, as `t2ikit sample` makes them.

    `to` places it. Options and methods of diffusers that it lacks (`latents=`, offloading) raise
    NotImplementedError and say what to do instead.

    Args:
        generator: the trained model.
        text_encoder, tokenizer: of transformers; None where the recipe's encoder has no weights.
        recipe: the tables of a resolved recipe that sampling needs; `image_size`, the `plugins` it needs, and
            how its `random` numbers are made.
    """

    __module__ = "t2ikit.pipeline"  # exported folders name it: never another
    family: ClassVar[Any] = Generator
    """The kind of generator it holds."""
    _optional_components = ["text_encoder", "tokenizer"]
    _callback_tensor_inputs = [IMAGES]
    _interrupt = False
    _num_timesteps = 0

    def __init__(
        self,
        generator: GeneratorModel,
        text_encoder: Any = None,
        tokenizer: Any = None,
        recipe: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.register_modules(generator=generator, text_encoder=text_encoder, tokenizer=tokenizer)
        self.register_to_config(recipe=recipe or {})
        self._encoder: tuple[tuple[Any, ...], TextEncoder] | None = None

    @classmethod
    def from_run(cls, run: str | Path | Run, *, weights: str = "ema", checkpoint: int | None = None) -> Self:
        """The pipeline of a run folder.

        Raises:
            UserError: what is not a run, has no such checkpoint, or is not of this pipeline's family; or one
                made with a plugin file.
        """
        run = run if isinstance(run, Run) else open_run(run)
        check_installed(run)
        model = run.model(weights=weights, checkpoint=checkpoint)
        cls._check_family(model.generator)
        text = model.encoder
        encoder, tokenizer = text.components() if hasattr(text, "components") else (None, None)
        if encoder is not None:
            encoder.to("cpu")  # where the generator is; the run's own may be on a GPU
        tables = portable({key: run.table[key] for key in sorted(SAMPLING)}, encoder=encoder is not None)
        options = {key: value for key, value in tables["generator"].items() if key != "use"}
        sizes = (run.image_size, text.width, text.length, run.image_channels)
        wrapped = GeneratorModel(tables["generator"]["use"], options, *sizes)
        wrapped.generator.load_state_dict(model.generator.state_dict())
        pipeline = cls(
            wrapped.eval(),
            text_encoder=encoder,
            tokenizer=tokenizer,
            recipe={**tables, **extra_of(run)},
        )
        pipeline._trained = model.step, model.notes, model.words
        return pipeline

    @classmethod
    def _check_family(cls, generator: Generator) -> None:
        if not isinstance(generator, cls.family):
            raise UserError(
                f"{cls.__name__} cannot hold this model",
                expected=f"a generator of the kind {cls.family.__name__}",
                got=type(generator).__name__,
                fix="take the pipeline of its own plugin (--format diffusers), or TextToImagePipeline "
                "(--format t2ikit/diffusers), which holds any",
            )

    @property
    def interrupt(self) -> bool:
        """Whether sampling ends after this step: a `callback_on_step_end` may set `_interrupt`."""
        return self._interrupt

    @property
    def num_timesteps(self) -> int:
        """Steps of the current or last call, of a sampler that has steps."""
        return self._num_timesteps

    @property
    def image_size(self) -> int:
        """Height and width of the images, pixels."""
        return int(self.config.recipe["image_size"])

    def model(self) -> Model:
        """Encoder, generator and sampler as t2ikit's functions take them.

        Raises:
            UserError: a plugin that the recipe names is not installed, a part that is missing or of another
                kind, a text encoder of another size, or weights in a precision that the device cannot sample
                in.
        """
        check_parts(self)
        registry = Registry.load()
        recipe = recipe_of(self.config.recipe, registry, self.generator.dtype, self.device)
        encoder = self._text(recipe.parts["text"])
        context = Context(
            self.image_size,
            encoder.width,
            encoder.length,
            self.device,
            recipe.train.seed,
            self.config.recipe.get("random", "torch"),  # earlier versions did not record it
            registry,
            self.generator.config.get("image_channels", 3),
            self._image_shapes(),
        )
        network = self.generator.generator.eval()
        sampler = build_sampler(recipe.parts["sampler"], context, network)
        return Model(recipe, context, encoder, network, sampler, *self._trained)

    def _text(self, part: Part) -> TextEncoder:
        """The text encoder, built anew where its model or tokenizer were exchanged, moved or cast."""
        given = self.text_encoder
        state = (given, self.tokenizer, *(() if given is None else (given.device, given.dtype)))
        if self._encoder is None or self._encoder[0] != state:
            self._encoder = state, text_encoder_of(part, given, self.tokenizer)
        check_size(self._encoder[1], self.generator.config)
        return self._encoder[1]

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | Sequence[str] | None = None,
        image: Images = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        num_images_per_prompt: int = 1,
        seed: int = 0,
        output_type: str = "pil",
        return_dict: bool = True,
        *,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        callback_on_step_end: StepCallback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = (IMAGES,),
        mask_image: Images = None,
        strength: float | None = None,
        negative_prompt: str | Sequence[str] | None = None,
        height: int | None = None,
        width: int | None = None,
        **others: Any,
    ) -> Any:
        """Sample images, all of the first prompt first; those of `t2ikit sample` for the same seed.

        Args:
            prompt, negative_prompt: a caption or P; what guidance leads away from, P texts or one for all.
            image: P images of PIL or (P, 3, h, w) in [-1, 1], to begin at or, with such a model, to upscale.
            num_inference_steps, guidance_scale: of the sampler; None takes the recipe's.
            num_images_per_prompt, seed, generator: S; of the noise: one generator, or one for each image.
            callback_on_step_end, callback_on_step_end_tensor_inputs: called after each step; see
                `call_between_steps`.
            output_type, return_dict: "pil", "np" (B, H, W, 3) in [0, 1], or "pt" (B, 3, H, W) in [-1, 1].
            mask_image, strength: what of `image` is repainted, and how much it changes (`read_edit`).
            height, width: pixels; None is the model's own. A denoiser of squares alone has no others.

        Raises:
            UserError, ValueError: there is no prompt, or an option does not fit the model or its sampler.
            NotImplementedError: other pipelines of diffusers have this option.
        """
        shape = self._check_call(others, height=height, width=width)
        count = whole("num_images_per_prompt", num_images_per_prompt)
        called = called_with(num_inference_steps, guidance_scale)
        prompts = prompts_of(prompt, count)
        negative = negative_of(negative_prompt, len(prompts))
        noise = noise_of(seed, generator, len(prompts) * count)
        model = self._model_for_call([*prompts, *negative], **called)
        call_between_steps(self, model.sampler, callback_on_step_end, callback_on_step_end_tensor_inputs)
        given = (image, mask_image, strength, negative, shape)
        images = image_options(model, len(prompts), count, *given, **called)
        shown = as_output(self._sample(model, prompts, count, called | noise | images), output_type)
        return ImagePipelineOutput(images=shown) if return_dict else (shown,)

    def _check_call(self, others: dict[str, Any], **sides: int | None) -> Shape | None:
        refuse_options(others, type(self).__call__)
        check_parts(self)
        return shape_called(self.image_size, self.generator.generator, self._image_shapes(), **sides)

    def _image_shapes(self) -> tuple[Shape, ...]:
        """Those of the training images, where they were in buckets."""
        return tuple((height, width) for height, width in self.config.recipe.get("image_shapes", ()))

    def _sample(self, model: Model, prompts: list[str], count: int, options: dict[str, Any]) -> torch.Tensor:
        with step_bar(self.progress_bar) as progress:
            return sample_images(model, prompts, samples=range(count), progress=progress, **options)

    def _model_for_call(self, texts: Sequence[str], steps: int | None, guidance: float | None) -> Model:
        """The model, once it is known to sample with these steps and guidance."""
        model = self._sampling(self.model())
        check_call(model, "steps", steps)
        check_call(model, "guidance", guidance)
        warn_of_prompts(model.encoder, model.words, texts)
        self._interrupt, self._num_timesteps = False, steps or model.sampler.steps
        return model

    def _sampling(self, model: Model) -> Model:
        """The model with the sampler of its family; here the recipe's."""
        return replace(model)
