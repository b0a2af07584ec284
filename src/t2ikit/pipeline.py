"""A trained model as a diffusers pipeline: everything that drawing needs in one folder.

`TextToImagePipeline.from_pretrained(folder)` opens what `t2ikit export RUN --format diffusers` wrote; plugins
give it the name of their family and what is theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from diffusers import ConfigMixin, DiffusionPipeline, ImagePipelineOutput, ModelMixin
from diffusers.configuration_utils import FrozenDict, register_to_config
from PIL import Image
from torch import Tensor
from typing_extensions import Self

from t2ikit.compose import Model, build_sampler
from t2ikit.config import validate
from t2ikit.drawing import check_call
from t2ikit.errors import UserError
from t2ikit.grids import from_pil, to_pil
from t2ikit.interfaces import TextEncoder
from t2ikit.recipe import SAMPLING, resolve
from t2ikit.registry import Registry
from t2ikit.run import Run, open_run
from t2ikit.sample import sample
from t2ikit.specs import Context
from t2ikit.text.held import HeldEncoder

__all__ = ["GeneratorModel", "ModelMixin", "TextToImagePipeline"]  # ModelMixin: diffusers looks for it here


Placed = TypeVar("Placed", bound=ConfigMixin)


def without_place(opened: Placed) -> Placed:
    """The same without the folder it was opened from, so that saving it anew writes the same files."""
    kept = {key: value for key, value in opened.config.items() if key != "_name_or_path"}
    opened._internal_dict = FrozenDict(kept)
    return opened


class GeneratorModel(ModelMixin, ConfigMixin):
    """A generator of any installed plugin as a diffusers model: `config.json` and safetensors.

    Args:
        use: the generator's name, as in a recipe.
        options: its options.
        image_size: pixels.
        text_width, text_length: D and L of the text encoder.

    Raises:
        UserError: the plugin is not installed, or an option is wrong.
    """

    @register_to_config
    def __init__(
        self, use: str, options: dict[str, Any], image_size: int, text_width: int, text_length: int
    ) -> None:
        super().__init__()
        registry = Registry.load()
        entry = registry.find("generators", use)
        config = validate(entry.spec.config, options, where="config.json", key="options")
        context = Context(image_size, text_width, text_length, torch.device("cpu"), 0, registry)
        self.generator = entry.spec.build(config, context)

    def forward(self, *args: Any, **options: Any) -> Any:
        """What the generator predicts in training."""
        return self.generator(*args, **options)

    @classmethod
    def from_pretrained(cls, path: Any, **options: Any) -> Self:
        """Open a folder that `save_pretrained` wrote; as diffusers does, but never built without memory.

        Buffers that are no weights (a noise schedule) are computed when a generator is built.
        """
        return without_place(super().from_pretrained(path, **{**options, "low_cpu_mem_usage": False}))


class TextToImagePipeline(DiffusionPipeline):
    """Prompts to pictures, as `t2ikit sample` draws them.

    Args:
        generator: the trained model.
        text_encoder, tokenizer: of transformers; None where the recipe's encoder has no weights.
        recipe: the tables of a resolved recipe that sampling needs, and `image_size`.
    """

    model_cpu_offload_seq = "text_encoder->generator"
    _optional_components = ["text_encoder", "tokenizer"]

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
        self._encoder: TextEncoder | None = None

    @classmethod
    def from_pretrained(cls, path: Any, **options: Any) -> Self:
        """Open a folder that `save_pretrained` or `t2ikit export --format diffusers` wrote."""
        return without_place(super().from_pretrained(path, **options))

    @classmethod
    def from_run(cls, run: str | Path | Run, *, weights: str = "ema", checkpoint: int | None = None) -> Self:
        """The pipeline of a run folder.

        Raises:
            UserError: what is not a run, or has no such checkpoint.
        """
        run = run if isinstance(run, Run) else open_run(run)
        registry = Registry.load()
        model = run.model(registry, weights=weights, checkpoint=checkpoint)
        text = model.encoder
        tables = {key: run.table[key] for key in sorted(SAMPLING)}
        options = {key: value for key, value in tables["generator"].items() if key != "use"}
        wrapped = GeneratorModel(tables["generator"]["use"], options, run.image_size, text.width, text.length)
        wrapped.generator.load_state_dict(model.generator.state_dict())
        encoder, tokenizer = text.components() if hasattr(text, "components") else (None, None)
        return cls(
            wrapped.eval(),
            text_encoder=encoder,
            tokenizer=tokenizer,
            recipe={**tables, "image_size": run.image_size},
        )

    @property
    def image_size(self) -> int:
        """Height and width of the pictures, pixels."""
        return int(self.config.recipe["image_size"])

    def model(self) -> Model:
        """Encoder, generator and sampler as t2ikit's functions take them.

        Raises:
            UserError: a plugin that the recipe names is not installed.
        """
        registry = Registry.load()
        tables = {key: value for key, value in self.config.recipe.items() if key != "image_size"}
        recipe = resolve(registry, tables, "the pipeline's recipe", only=SAMPLING)
        part = recipe.parts["text"]
        if self._encoder is None:
            self._encoder = (
                HeldEncoder(self.text_encoder, self.tokenizer, part.config)
                if self.text_encoder is not None
                else part.entry.spec.build(part.config, None)
            )
        encoder = self._encoder
        context = Context(
            self.image_size, encoder.width, encoder.length, self.device, recipe.train.seed, registry
        )
        network = self.generator.generator.eval()
        return Model(
            recipe, context, encoder, network, build_sampler(recipe.parts["sampler"], context, network)
        )

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | Sequence[str],
        image: Tensor | Image.Image | Sequence[Image.Image] | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        num_images_per_prompt: int = 1,
        seed: int = 0,
        output_type: str = "pil",
        return_dict: bool = True,
    ) -> Any:
        """Draw pictures; the same as `t2ikit sample` for the same seed.

        Args:
            prompt: a caption or P captions.
            image: what to enlarge, for a model that enlarges: P pictures of PIL, or (P, 3, h, w) in [-1, 1].
            num_inference_steps, guidance_scale: of the sampler; None takes the recipe's.
            num_images_per_prompt: S.
            seed: what the noise is drawn from.
            output_type: "pil", "np" (B, H, W, 3) in [0, 1], or "pt" (B, 3, H, W) in [-1, 1].
            return_dict: false: a tuple.

        Returns:
            `images`, all of the first prompt first.

        Raises:
            UserError: an option that the model or its sampler cannot use.
        """
        model = self._sampling(self.model())
        for name, value in (("steps", num_inference_steps), ("guidance", guidance_scale)):
            check_call(model, name, value)  # type: ignore[arg-type]
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        images = sample(
            model,
            prompts,
            samples=range(num_images_per_prompt),
            seed=seed,
            steps=num_inference_steps,
            guidance=guidance_scale,
            low_res=None if image is None else _to_enlarge(image, len(prompts), num_images_per_prompt),
        )
        shown = self._output(images, output_type)
        return ImagePipelineOutput(images=shown) if return_dict else (shown,)

    def _sampling(self, model: Model) -> Model:
        """The model with what a family draws with; its own sampler here."""
        return replace(model)

    @staticmethod
    def _output(images: Tensor, output_type: str) -> list[Image.Image] | np.ndarray[Any, Any] | Tensor:
        if output_type == "pt":
            return images
        if output_type == "np":
            array: np.ndarray[Any, Any] = ((images + 1) / 2).permute(0, 2, 3, 1).numpy()
            return array
        if output_type == "pil":
            return to_pil(images)
        raise UserError(
            f"output_type {output_type!r} is none",
            expected='"pil", "np" or "pt"',
            got=output_type,
            fix="choose one of those",
        )


def _to_enlarge(given: Tensor | Image.Image | Sequence[Image.Image], prompts: int, samples: int) -> Tensor:
    """(P * S, 3, h, w) in [-1, 1], each of the P pictures S times."""
    if isinstance(given, Tensor):
        shapes = [tuple(picture.shape) for picture in given]
    else:
        given = [given] if isinstance(given, Image.Image) else given
        shapes = [picture.size for picture in given]
    if len(shapes) != prompts or len(set(shapes)) != 1:
        raise UserError(
            "image= does not hold one picture for each prompt, all of one size",
            expected=f"{prompts} pictures",
            got=f"{len(shapes)} of {', '.join(map(str, sorted(set(shapes))))}",
            fix="give as many pictures as prompts, of the size that the model enlarges",
        )
    images = given if isinstance(given, Tensor) else from_pil(given)
    return images.repeat_interleave(samples, 0)
