"""A trained model as a diffusers pipeline: everything that sampling needs in one folder.

`TextToImagePipeline.from_pretrained(folder)` opens what `t2ikit export RUN --format diffusers` wrote; plugins
give it the name of their family and what is theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from diffusers import DiffusionPipeline, ImagePipelineOutput
from typing_extensions import Self

from t2ikit.core.interfaces import Generator, TextEncoder
from t2ikit.core.out_of_memory import is_out_of_memory
from t2ikit.errors import UserError
from t2ikit.exporters.generator_model import GeneratorModel, without_place
from t2ikit.exporters.pipeline_calls import (
    CUSTOM,
    DEVICE_MAP,
    UnsupportedMethods,
    as_output,
    called_with,
    refuse_options,
    shape_called,
    unsupported,
    whole,
)
from t2ikit.exporters.pipeline_checks import (
    check_index,
    check_installed,
    check_parts,
    check_plugins,
    one_dtype,
    prompts_of,
    text_encoder_in,
)
from t2ikit.exporters.pipeline_images import Images, image_options, negative_of
from t2ikit.exporters.pipeline_model import check_size, extra_of, recipe_of, text_encoder_of
from t2ikit.recipes.compose import Model, build_sampler
from t2ikit.recipes.recipe import SAMPLING, Part
from t2ikit.registry.registry import Registry
from t2ikit.registry.specs import Context
from t2ikit.runs.create import portable
from t2ikit.runs.open import open_run
from t2ikit.runs.run import Run
from t2ikit.sampling.images import sample_images
from t2ikit.sampling.open import check_call
from t2ikit.text.model_files import name_tokenizers
from t2ikit.text.vocabulary import read_words, warn_of_prompts, write_words
from t2ikit.utils.hub import folder_of
from t2ikit.utils.quoting import one_line


class TextToImagePipeline(UnsupportedMethods, DiffusionPipeline):
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
        self._trained: tuple[int | None, tuple[str, ...], Mapping[str, int] | None] = (None, (), None)

    @classmethod
    def from_pretrained(cls, path: Any, **options: Any) -> Self:
        """Open a folder that `save_pretrained` or `t2ikit export --format diffusers` wrote.

        Args:
            path: a folder, or OWNER/NAME on the Hub.
            **options: diffusers' own; `torch_dtype` may be bfloat16, on a GPU float16, too. Weights are
                safetensors, whatever `use_safetensors` says, and no code of a folder is run, whatever
                `trust_remote_code` says.

        Raises:
            UserError: a file is missing or damaged, the Hub does not give it, or the folder names code that
                is not installed.
            NotImplementedError: `device_map` is given.
        """
        one_dtype(options)
        if options.get("device_map") is not None:
            raise unsupported("device_map=", DEVICE_MAP)
        folder = folder_of(path, options)
        fixed = {"use_safetensors": True, "trust_remote_code": False, "custom_pipeline": None}
        try:
            index = cls.load_config(folder)  # with the class's name alone, whatever file it is in
            check_plugins(path, index)
            check_index(cls, folder, index, options)
            text = text_encoder_in(folder, index, options)
            opened = without_place(super().from_pretrained(folder, **{**options, **fixed, **text}))
            opened._trained = (None, (), read_words(folder))
            return opened
        except Exception as error:  # a damaged file of a library may end in any
            if isinstance(error, UserError) or is_out_of_memory(error):
                raise
            raise UserError(
                f"{path} cannot be opened as a pipeline",
                expected="what `t2ikit export --format diffusers` wrote, whole; weights in safetensors alone",
                got=one_line(error),
                fix="check the options that were given; if they are right, export the run again",
            ) from error

    @classmethod
    def load_config(cls, *given: Any, **options: Any) -> Any:
        """What model_index.json holds, as diffusers gives it.

        An export names its class as one of `pipeline.py`, for `DiffusionPipeline`; that file is not run here.
        """
        config = super().load_config(*given, **options)
        index = config[0] if isinstance(config, tuple) else config
        if isinstance(index, dict) and isinstance(named := index.get("_class_name"), list):
            index["_class_name"] = named[1] if named[:1] == [CUSTOM] and len(named) == 2 else named
        return config

    def save_pretrained(self, folder: str | Path, *given: Any, **options: Any) -> None:
        """Write a folder that `from_pretrained` opens, with transformers 4 as well as 5.

        Args:
            folder: to make.
            *given, **options: diffusers' own; `push_to_hub=True` uploads it to `repo_id`, or to a repository
                of the folder's name.
        """
        if options.get("push_to_hub"):
            options.setdefault("repo_id", Path(folder).resolve().name)
        super().save_pretrained(str(folder), *given, **options)
        self._complete(Path(folder))

    def _upload_folder(self, working_dir: Any, *given: Any, **options: Any) -> Any:
        """What diffusers calls at the end of `save_pretrained(..., push_to_hub=True)`."""
        self._complete(Path(working_dir))
        return super()._upload_folder(working_dir, *given, **options)

    def _complete(self, folder: Path) -> None:
        """Add to a saved folder what diffusers does not know of."""
        name_tokenizers(folder)
        write_words(folder, self._trained[2])

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
            tuple((height, width) for height, width in self.config.recipe.get("image_shapes", ())),
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
        mask_image: Images = None,
        strength: float | None = None,
        negative_prompt: str | Sequence[str] | None = None,
        height: int | None = None,
        width: int | None = None,
        **others: Any,
    ) -> Any:
        """Sample images, all of the first prompt first; the same as `t2ikit sample` for the same seed.

        Args:
            prompt: a caption or P captions.
            image: P images of PIL or (P, 3, h, w) in [-1, 1], to begin at or, with such a model, to upscale.
            num_inference_steps, guidance_scale: of the sampler; None takes the recipe's.
            num_images_per_prompt, seed: S, at least 1; of the noise.
            output_type: "pil", "np" (B, H, W, 3) in [0, 1], or "pt" (B, 3, H, W) in [-1, 1].
            return_dict: false: a tuple.
            mask_image, strength: what of `image` is repainted, and how much it changes (`read_edit`).
            negative_prompt: what guidance leads away from, in place of the empty caption.
            height, width: pixels; None is the model's own. A denoiser of squares alone has no others.
            **others: none; those of other pipelines of diffusers raise NotImplementedError.

        Raises:
            UserError, ValueError: there is no prompt, or an option does not fit the model or its sampler.
        """
        refuse_options(others, type(self).__call__)
        check_parts(self)
        shape = shape_called(self.image_size, self.generator.generator, height=height, width=width)
        count = whole("num_images_per_prompt", num_images_per_prompt)
        called = called_with(num_inference_steps, guidance_scale)
        prompts, negative = prompts_of(prompt, count), negative_of(negative_prompt)
        model = self._sampling(self.model())
        check_call(model, "steps", called["steps"])
        check_call(model, "guidance", called["guidance"])
        warn_of_prompts(model.encoder, model.words, [*prompts, negative])
        given = (image, mask_image, strength, negative, shape)
        options = {**called, **image_options(model, len(prompts), count, *given, **called)}
        images = sample_images(model, prompts, samples=range(count), seed=whole("seed", seed), **options)
        shown = as_output(images, output_type)
        return ImagePipelineOutput(images=shown) if return_dict else (shown,)

    def _sampling(self, model: Model) -> Model:
        """The model with the sampler of its family; here the recipe's."""
        return replace(model)
