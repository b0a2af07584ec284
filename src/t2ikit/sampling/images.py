"""Prompts to images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from t2ikit.core.batch import Condition
from t2ikit.core.out_of_memory import halving
from t2ikit.core.rng import Draws, derive_seed
from t2ikit.core.shapes import Shape, shown
from t2ikit.errors import UserError, option
from t2ikit.recipes.compose import Model
from t2ikit.sampling.editing.edit import ImageEdit
from t2ikit.sampling.graphs import capturing
from t2ikit.sampling.guidance import clamp_images
from t2ikit.utils.devices import cpu_has_bf16
from t2ikit.utils.quoting import one_line

Progress = Callable[[int, int], None]
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
"""What is computed in, by the name of a precision."""
PIXELS = 64 * 64**2
"""Pixels of the images that are sampled at once by default."""


def condition_for(
    model: Model,
    prompts: Sequence[str],
    low_res: Tensor | None = None,
    negative: str | Sequence[str] = "",
    shape: Shape | None = None,
) -> Condition:
    """Encode prompts, on the model's device; guidance leads away from `negative`, one or one for each."""
    text = model.encoder.encode([*prompts, *([negative] if isinstance(negative, str) else negative)])
    condition = Condition(tuple(prompts), text[: len(prompts)], text[len(prompts) :], low_res, shape=shape)
    return condition.to(model.context.device)


def autocast(model: Model) -> AbstractContextManager[object]:
    """The precision the model was trained in, where the device has it."""
    dtype, device = DTYPES.get(model.recipe.train.precision), model.context.device.type
    if dtype is None or (dtype == torch.float16 and device == "cpu"):
        return nullcontext()
    if dtype == torch.bfloat16 and device == "cpu" and _is_fp32(model) and not cpu_has_bf16():
        return nullcontext()  # a CPU that emulates bf16 is slow at it
    # A weight that was cast once for all steps would not be in a captured one.
    return torch.autocast(device, dtype, cache_enabled=device != "cuda")


def _is_fp32(model: Model) -> bool:
    return all(p.dtype == torch.float32 for p in model.generator.parameters())


@torch.no_grad()
def sample_images(
    model: Model,
    prompts: Sequence[str],
    *,
    samples: Sequence[int] = (0,),
    seed: int = 0,
    steps: int | None = None,
    guidance: float | None = None,
    low_res: Tensor | None = None,
    edit: ImageEdit | None = None,
    negative: str | Sequence[str] = "",
    keys: Sequence[int] | None = None,
    shape: Shape | None = None,
    batch: int | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """Sample images; they are returned on the CPU.

    An image depends on (seed, prompt, sample number), or its key, and the settings, not on what else is
    sampled, but for rounding that differs with the batch size.

    Args:
        model, prompts: a generator with its encoder and sampler, and P captions.
        samples, seed: S sample numbers, one image of each prompt for each; of the noise.
        steps, guidance: of the sampler; None takes the sampler's own.
        low_res: (P * S, 3, h, w) in [-1, 1], what each image is made from, for a model that upscales.
        edit: P * S images to begin at and what of them is repainted, as `check_edit` allows.
        negative: in place of the empty caption, which guidance leads away from; one, or P.
        keys: P * S numbers in [0, 2^63) that the noise is made from, in place of `seed`.
        shape: height and width, pixels, of a model that takes them; None: the model's own square.
        batch: images at once, halved when memory runs out; None: 64, and fewer above 64 px.
        progress: called with (sampler steps done, in all).

    Returns:
        (P * S, 3, H, W) in [-1, 1], all samples of the first prompt first.

    Raises:
        UserError: one image exceeds the memory, `low_res` is not what the model upscales, or NaN comes out.
    """
    each = [prompt for prompt in prompts for _ in samples]
    check_low_res(model, low_res, len(each))
    size = batch or max(1, min(64, PIXELS // math.prod(shape or model.context.image_shape[1:])))
    keys = keys or [derive_seed(seed, prompt, number) for prompt in prompts for number in samples]
    draws = Draws(torch.tensor(keys), "sample", model.context.device, numbers=model.context.random)
    options = {"steps": steps, "guidance": guidance}
    inputs = Inputs(each, draws, _each(negative, samples), low_res, edit, shape)
    with capturing(model.sampler, torch.device(model.context.device)):
        images = halving(lambda b: _sample_batches(model, inputs, b, progress, options), size, _too_large)
    check_finite_images(images, each)
    return images


def _each(negative: str | Sequence[str], samples: Sequence[int]) -> str | tuple[str, ...]:
    """One negative prompt as it is, several for each of the samples."""
    return negative if isinstance(negative, str) else tuple(text for text in negative for _ in samples)


@dataclass(frozen=True)
class Inputs:
    """What N images are sampled from.

    Attributes:
        prompts: N captions.
        draws: their noise.
        negative: one text, or N.
        low_res, edit: of N images, as in `sample_images`.
        shape: of the images; None: the model's own.
    """

    prompts: Sequence[str]
    draws: Draws
    negative: str | tuple[str, ...] = ""
    low_res: Tensor | None = None
    edit: ImageEdit | None = None
    shape: Shape | None = None

    def __getitem__(self, index: slice) -> Inputs:
        low_res = None if self.low_res is None else self.low_res[index]
        edit = None if self.edit is None else self.edit[index]
        negative = self.negative if isinstance(self.negative, str) else self.negative[index]
        return Inputs(self.prompts[index], self.draws[index], negative, low_res, edit, self.shape)


def _sample_batches(
    model: Model, inputs: Inputs, batch: int, progress: Progress | None, options: dict[str, Any]
) -> Tensor:
    """One image a prompt, `batch` at once."""
    starts = range(0, len(inputs.prompts), batch)
    chunks = []
    for place, start in enumerate(starts):
        chunk = inputs[start : start + batch]
        condition = condition_for(model, chunk.prompts, chunk.low_res, chunk.negative, chunk.shape)
        done = chunk_progress(progress, place, len(starts))
        more: dict[str, Any] = {}
        if chunk.edit is not None:  # only for samplers that take one
            more["edit"] = chunk.edit.to(model.context.device)
        with autocast(model):
            images = model.sampler(
                model.generator, condition, draws=chunk.draws, progress=done, **options, **more
            )
        _check_shape_of(images, model, chunk.shape)
        chunks.append(clamp_images(images.float()).cpu())
    return torch.cat(chunks)


def sample_shapes(
    model: Model,
    prompts: Sequence[str],
    shapes: Sequence[Shape],
    *,
    samples: Sequence[int] = (0,),
    **options: Any,
) -> list[Tensor]:
    """P * S images (3, H, W), each prompt's of its own shape; otherwise as `sample_images`."""
    found: list[Tensor | None] = [None] * (len(prompts) * len(samples))
    progress, low_res = options.pop("progress", None), options.pop("low_res", None)
    groups = list(dict.fromkeys(shapes))
    for number, shape in enumerate(groups):
        own = [place for place, one in enumerate(shapes) if one == shape]
        places = [place * len(samples) + i for place in own for i in range(len(samples))]
        images = sample_images(
            model,
            [prompts[place] for place in own],
            samples=samples,
            shape=shape,
            low_res=None if low_res is None else low_res[places],
            progress=chunk_progress(progress, number, len(groups)),
            **options,
        )
        for place, image in zip(places, images, strict=True):
            found[place] = image
    return cast(list[Tensor], found)


def _check_shape_of(images: Tensor, model: Model, shape: Shape | None) -> None:
    """Refuse a sampler that knows squares alone."""
    if shape is not None and images.shape[-2:] != shape:
        raise UserError(
            f"the sampler {type(model.sampler).__name__} makes images of the model's own size alone",
            expected=f"{shown(shape)} px, which `condition.shape` asks for (`Denoiser.shape_of`)",
            got=f"{shown((images.shape[-2], images.shape[-1]))} px",
            fix=f"choose another with {option('sampler')}",
        )


def check_low_res(model: Model, low_res: Tensor | None, count: int) -> None:
    """Refuse images to upscale that a model does not take, or none or not `count` where it needs them.

    Raises:
        UserError: so it is.
    """
    super_resolution, size = model.generator.super_resolution, model.context.image_size
    if super_resolution is None:
        if low_res is not None:
            raise UserError(
                "this model samples from text alone and cannot upscale images",
                expected="a super-resolution run, such as one of the recipe imagen/sr-32-64",
                got=f"a model that samples {size} px",
                fix="give it as the first run, and a super-resolution run with --upscale",
            )
        return
    side = size // super_resolution.ratio
    found = None if low_res is None else (len(low_res), *low_res.shape[-2:])
    if found != (count, side, side):
        raise UserError(
            f"this model makes {size} px out of {side} px",
            expected=f"{count} image(s) of {side} x {side} px to upscale",
            got="no images" if found is None else "{} of {} x {} px".format(*found),
            fix=f't2ikit sample BASE --upscale RUN "a prompt", with a BASE of {side} px',
        )


def check_finite_images(images: Tensor, prompts: Sequence[str]) -> None:
    """Refuse images that hold NaN or infinity, which would be saved as black or white.

    Args:
        images: (N, 3, H, W).
        prompts: N captions.

    Raises:
        UserError: with the prompts, and the number of values.
    """
    bad = (~images.isfinite()).flatten(1).sum(1)
    if not bad.any():
        return
    found = [(prompt, int(count)) for prompt, count in zip(prompts, bad, strict=True) if count]
    size = images[0].numel()
    shown = "; ".join(f"{prompt[:60]!r}: {count} of {size} values" for prompt, count in found[:4])
    raise UserError(
        f"{len(found)} of {len(images)} images hold values that are not finite",
        expected="finite colour values",
        got=shown + "; ..." * (len(found) > 4),
        fix="the weights are damaged, training diverged, or fp16 overflowed: try an earlier checkpoint "
        "(--checkpoint STEP), or --device cpu, where fp16 runs compute in float32",
    )


def _too_large(batch: int, error: BaseException) -> UserError | None:
    if batch > 1:
        return None
    return UserError(
        "out of memory while sampling a single image",
        expected="the model and one image to fit the device",
        got=one_line(error),
        fix="use another device (--device cpu), or a smaller model",
    )


def chunk_progress(progress: Progress | None, place: int, chunks: int) -> Progress | None:
    """Progress within one chunk as progress over all of them."""
    if progress is None:
        return None
    return lambda done, total: progress(place * total + done, chunks * total)
