"""The images that a pipeline is called with: those that are upscaled, and those that are edited."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image
from torch import Tensor

from t2ikit.core.shapes import Shape
from t2ikit.errors import UserError
from t2ikit.exporters.pipeline_checks import texts_of
from t2ikit.recipes.compose import Model
from t2ikit.sampling.editing.checks import check_edit
from t2ikit.sampling.editing.inputs import read_edit, refuse_alone
from t2ikit.utils.images import from_pil

Images = Tensor | Image.Image | Sequence[Image.Image] | None
"""Images as a call takes them."""


def image_options(
    model: Model,
    prompts: int,
    samples: int,
    image: Images,
    mask_image: Images,
    strength: float | None,
    negative: Sequence[str],
    shape: Shape | None = None,
    *,
    steps: int | None,
    guidance: float | None,
) -> dict[str, Any]:
    """What `sample_images` takes besides prompts, from the options of a call, S images for each of P prompts.

    `image` is what a super-resolution model upscales, and what any other denoiser begins at; `shape` is
    height and width of the images, where they are not the model's own.

    Raises:
        UserError: the model cannot use them, or they are no images.
    """
    low_res, edit = None, None
    if model.generator.super_resolution is None:
        size, channels = shape or model.context.image_size, model.context.image_channels
        given = (image, mask_image, strength)
        edit = read_edit(*given, prompts=prompts, size=size, channels=channels)
        edit = None if edit is None else edit.repeated(samples)
    else:
        refuse_alone("a super-resolution model upscales its image, whole", mask_image, strength)
        low_res = None if image is None else images_to_upscale(image, prompts, samples)
    if len(set(negative)) == 1:
        (negative,) = set(negative)
    check_edit(model, edit, negative, steps=steps, guidance=() if guidance is None else (guidance,))
    return {"low_res": low_res, "edit": edit, "negative": negative, "shape": shape}


def negative_of(given: str | Sequence[str] | None, prompts: int) -> list[str]:
    """The negative prompts of a call, one for each of P prompts; None is the empty one.

    Raises:
        UserError: neither one nor P, or what is no text.
    """
    texts = texts_of("" if given is None else given)
    if len(texts) in (1, prompts) and all(isinstance(text, str) for text in texts):
        return texts * (prompts // len(texts))
    raise UserError(
        "negative_prompt= is neither one text for all prompts nor one for each",
        expected=f'a text, such as "blurry", or {prompts} of them',
        got=given,
        fix="give as many as there are prompts; the empty text leads away from nothing in particular",
    )


def images_to_upscale(
    given: Tensor | Image.Image | Sequence[Image.Image], prompts: int, samples: int
) -> Tensor:
    """(P * S, 3, h, w) in [-1, 1], each of the P images S times."""
    if not isinstance(given, Tensor):
        given = [given] if isinstance(given, Image.Image) else given
        if not isinstance(given, Sequence) or not all(isinstance(one, Image.Image) for one in given):
            raise _no_images(type(given).__name__)
        shapes = [image.size for image in given]
    elif given.ndim != 4:
        raise _no_images(f"a tensor {tuple(given.shape)}")
    else:
        shapes = [tuple(image.shape) for image in given]
    if len(shapes) != prompts or len(set(shapes)) != 1:
        raise UserError(
            "image= does not hold one image for each prompt, all of one size",
            expected=f"{prompts} images",
            got=f"{len(shapes)} of {', '.join(map(str, sorted(set(shapes))))}",
            fix="give as many images as prompts, of the size that the model upscales",
        )
    images = given if isinstance(given, Tensor) else from_pil(given)
    return images.repeat_interleave(samples, 0)


def _no_images(got: str) -> UserError:
    return UserError(
        "image= takes what a super-resolution model is to upscale",
        expected="images of PIL, one for each prompt, or a tensor (P, 3, h, w) in [-1, 1]",
        got=got,
        fix="leave image= out for a model that makes images from text alone",
    )
