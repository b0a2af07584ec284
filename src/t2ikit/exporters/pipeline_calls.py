"""Options that callers know from other pipelines of diffusers: supported, or refused in one sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, signature
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from t2ikit.core.interfaces import Generator
from t2ikit.core.shapes import LIMIT, ODD, Shape, bucket_shapes, within_limit
from t2ikit.errors import UserError, did_you_mean
from t2ikit.utils.images import to_pil

NOISE = "an image's noise is made from numbers: give seed= or generator="
PLACED = "the sampler's settings are the recipe's: give num_inference_steps=, or assign pipeline.scheduler"
EMBEDDED = "captions are encoded by the pipeline's own text encoder: give them as text, prompt="
BETWEEN = "it is diffusers' older name: give callback_on_step_end="
UNSUPPORTED = {
    "latents": NOISE,
    "callback": BETWEEN,
    "callback_steps": BETWEEN,
    "timesteps": PLACED,
    "sigmas": PLACED,
    "eta": PLACED,
    "guidance_rescale": PLACED,
    "prompt_embeds": EMBEDDED,
    "prompt_attention_mask": EMBEDDED,
    "pooled_prompt_embeds": EMBEDDED,
    "negative_prompt_embeds": EMBEDDED,
    "max_sequence_length": EMBEDDED,
    "clean_caption": "captions are read as they are",
    "clip_skip": EMBEDDED,
    "padding_mask_crop": "the whole image is worked on: crop it, edit the crop, and paste it back",
    "masked_image_latents": "there are no latents: give image= and mask_image=",
    "ip_adapter_image": "there is no adapter for reference images",
    "cross_attention_kwargs": "attention takes no options",
}
"""Options of diffusers' text-to-image pipelines that ours lack, and what to do instead."""
CUSTOM = "pipeline"
"""The file of an export from which `DiffusionPipeline` takes the class, without `.py`."""
SAME = {"clean_caption": False}
"""Values of these that ask for what is done anyway."""
OFFLOADING = (
    "offloading hangs on the forward of models, which sampling does not call; these models are small: "
    'pipeline.to("cuda") holds the whole of one'
)
DEVICE_MAP = 'leave it out, and place the whole pipeline: pipeline.to("cuda")'
SLICING = "attention is computed whole, by torch's own memory-efficient kernels"


def unsupported(name: str, why: str) -> NotImplementedError:
    """The error of an option or method that diffusers has and our pipelines lack."""
    return NotImplementedError(f"{name} is not supported: {why}")


def refuse_options(given: Mapping[str, Any], call: Callable[..., Any]) -> None:
    """Refuse options of a call that are unknown, or known from elsewhere; None is as good as not given.

    Args:
        given: those that the call does not name.
        call: the pipeline's.

    Raises:
        NotImplementedError: for one that other pipelines have.
        ValueError: for one that none has, with what was probably meant.
    """
    for name, value in given.items():
        if name in UNSUPPORTED and (value is None or (name in SAME and value == SAME[name])):
            continue
        if name in UNSUPPORTED:
            raise unsupported(f"{name}=", UNSUPPORTED[name])
        named = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
        known = [own.name for own in list(signature(call).parameters.values())[1:] if own.kind in named]
        raise ValueError(f"the pipeline has no option {name}=; {did_you_mean(name, known)}")


def whole(name: str, value: object) -> int:
    """An option that is a whole number, of Python or numpy.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ValueError(f"{name}={value!r}: this option takes a whole number")
    return int(value)


def number(name: str, value: object) -> float:
    """An option that is a number, of Python or numpy.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError(f"{name}={value!r}: this option takes a number")
    return float(value)


def called_with(num_inference_steps: object, guidance_scale: object) -> dict[str, Any]:
    """Steps and guidance of a call, None where the sampler's own are meant.

    Raises:
        ValueError: one of them is no number.
    """
    return {
        "steps": None if num_inference_steps is None else whole("num_inference_steps", num_inference_steps),
        "guidance": None if guidance_scale is None else number("guidance_scale", guidance_scale),
    }


def noise_of(seed: object, generator: object, images: int) -> dict[str, Any]:
    """What the noise of so many images is made from, as `sample_images` takes it.

    A list of generators gives each image the noise that its generator alone would give it.

    Raises:
        ValueError: neither a seed nor one generator or as many as images, or both.
    """
    if generator is None:
        return {"seed": whole("seed", seed)}
    if seed != 0:
        raise ValueError("seed= and generator= both say where the noise comes from: give one of them")
    single = isinstance(generator, torch.Generator)
    each: list[Any] = list(generator) if isinstance(generator, Sequence) else [generator]
    if not all(isinstance(one, torch.Generator) for one in each) or (not single and len(each) != images):
        got = [type(one).__name__ for one in each]
        raise ValueError(
            f"generator= takes one torch.Generator, or a list of {images}, one for each image; "
            f"got {f'{len(each)} of them' if set(got) == {'Generator'} else ', '.join(got[:4])}"
        )
    count = images if single else 1
    drawn = [torch.randint(2**63 - 1, (count,), generator=one, device=one.device) for one in each]
    return {"keys": torch.cat([numbers.cpu() for numbers in drawn]).tolist()}


def shape_called(
    size: int, generator: Generator, trained: Sequence[Shape] = (), **sides: int | None
) -> Shape | None:
    """The height and width of a call; None is the model's own.

    Args:
        size: of the model's own.
        generator: which may take others.
        trained: the shapes of its training images, which it makes however long they are.
        **sides: height and width.

    Raises:
        ValueError: the model does not make them.
    """
    multiple = generator.shape_multiple
    for name, side in sides.items():
        if side is None or whole(name, side) == size:
            continue
        if not multiple:
            raise ValueError(
                f"{name}={side}: this model makes images of {size} x {size} pixels alone; leave height= and "
                "width= out, and upscale with a super-resolution run"
            )
        if side < multiple or side % multiple:
            raise ValueError(
                f"{name}={side}: this model makes images of multiples of {multiple} pixels, of at least one"
            )
    height, width = (side or size for side in sides.values())
    known = trained or (bucket_shapes(size, multiple) if multiple else [])
    if not within_limit(width / height) and (height, width) not in known:
        raise ValueError(f"height={height}, width={width}: {ODD}; it takes {LIMIT}")
    return None if height == width == size else (height, width)


def as_output(images: Tensor, output_type: str) -> list[Image.Image] | np.ndarray[Any, Any] | Tensor:
    """Images (B, 3, H, W) in [-1, 1] in the form that a call asks for: "pil", "np" or "pt".

    Raises:
        UserError: it is none of these.
    """
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


class UnsupportedMethods:
    """Methods of diffusers' pipelines that ours lack: each says what to do instead."""

    def _no_offloading(self, *given: Any, **options: Any) -> None:
        raise unsupported("offloading", OFFLOADING)

    enable_model_cpu_offload = enable_sequential_cpu_offload = enable_group_offload = _no_offloading

    def set_attention_slice(self, slice_size: int | None) -> None:
        """What `enable_attention_slicing` calls; None, for none, is all that there is."""
        if slice_size is not None:
            raise unsupported("attention slicing", SLICING)

    def set_use_memory_efficient_attention_xformers(self, valid: bool, attention_op: Any = None) -> None:
        """What `enable_xformers_memory_efficient_attention` calls, and its opposite, which does nothing."""
        if valid:
            raise unsupported("attention by xformers", SLICING)
