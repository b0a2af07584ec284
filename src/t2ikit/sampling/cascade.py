"""Super-resolution stages that upscale the images of a base model: `t2ikit sample BASE --upscale RUN`.

Source: cascaded diffusion (arXiv 2106.15282); any model that upscales may follow any model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor

from t2ikit.config.toml import parse_setting
from t2ikit.core.rng import derive_seed
from t2ikit.errors import UserError, reworded
from t2ikit.recipes.compose import Model
from t2ikit.sampling.images import Progress, sample_images

Open = Callable[[Path, Sequence[str]], Model]
"""Opens a run with settings of its sampler."""


def open_stages(base: Model, paths: Sequence[Path], settings: Sequence[str], opened: Open) -> list[Model]:
    """The models of the stages, checked to fit onto each other.

    Args:
        base: the model that samples first.
        paths: run folders, in order.
        settings: `upscale.KEY=VALUE` for the sampler of every stage, `upscale.2.KEY=VALUE` for the second's;
            there are no others.
        opened: opens a run with settings of its sampler.

    Raises:
        UserError: a run that upscales nothing, or images of another size than it takes.
    """
    stages: list[Model] = []
    own = _by_stage(settings, len(paths))
    size = base.context.image_size
    for number, (path, of_stage) in enumerate(zip(paths, own, strict=True), 1):
        try:
            model = opened(path, of_stage)
        except UserError as error:
            prefix = f"upscale.{number}." if len(paths) > 1 else "upscale."
            raise reworded(error, "sampler.", prefix, str(path)) from error
        super_resolution, side = model.generator.super_resolution, model.context.image_size
        if super_resolution is None:
            raise UserError(
                f"--upscale {path}: this run samples from text alone and cannot upscale",
                expected="a super-resolution run, such as one of the recipe imagen/sr-32-64",
                got=f"a run that samples {side} px",
                fix="train one: t2ikit train --plugin imagen --recipe imagen/sr-32-64",
            )
        if model.context.image_channels != base.context.image_channels:
            raise UserError(
                f"--upscale {path}: its images have other channels",
                expected=f"{base.context.image_channels}, as those of the stage before",
                got=model.context.image_channels,
                fix="train it with the same data.channels",
            )
        if side // super_resolution.ratio != size:
            raise UserError(
                f"--upscale {path}: it makes {side} px out of {side // super_resolution.ratio} px",
                expected=f"a run that upscales {size} px, the size of the stage before",
                got=f"one that upscales {side // super_resolution.ratio} px",
                fix=f"choose a base of {side // super_resolution.ratio} px, or train this stage with "
                f"--set data.size={size * super_resolution.ratio:d}",
            )
        stages.append(model)
        size = side
    return stages


def _by_stage(settings: Sequence[str], count: int) -> list[list[str]]:
    """Settings of each stage's sampler, as `sampler.KEY=VALUE`."""
    own: list[list[str]] = [[] for _ in range(count)]
    for setting in settings:
        keys, _ = parse_setting(setting)
        numbered = len(keys) > 2 and keys[1].isdigit()
        number = int(keys[1]) if numbered else 0
        if not count or len(keys) < 2 or number > count or (numbered and number == 0):
            raise UserError(
                f"--set {setting}: there is no such stage",
                expected=f"upscale.KEY=VALUE, or upscale.N.KEY=VALUE with N from 1 to {count}"
                if count
                else "upscale.KEY=VALUE together with --upscale RUN",
                got=setting,
                fix="count the --upscale options from 1, or leave the number out for all of them",
            )
        key = ".".join(keys[2:] if numbered else keys[1:])
        value = setting.partition("=")[2]
        for place, stage in enumerate(own, 1):
            if number in (0, place):
                stage.append(f"sampler.{key}={value}")
    return own


def upscale_images(
    stages: Sequence[Model],
    prompts: Sequence[str],
    images: Tensor,
    *,
    samples: Sequence[int] = (0,),
    seed: int = 0,
    progress: Callable[[int], Progress | None] = lambda stage: None,
) -> Tensor:
    """Images (P * S, 3, h, w) through every stage, to (P * S, 3, H, W); each with its own noise.

    Args:
        stages: as `open_stages` gives them; each encodes the prompts with its own encoder.
        prompts: P captions.
        images: in [-1, 1], all samples of the first prompt first.
        samples: the S sample numbers.
        seed: of the whole cascade.
        progress: by the stage's number from 1, what `sample` calls.
    """
    for number, model in enumerate(stages, 1):
        images = sample_images(
            model,
            prompts,
            samples=samples,
            seed=derive_seed(seed, "stage", number),
            low_res=images,
            progress=progress(number),
        )
    return images
