"""Images for a super-resolution model to upscale in grids and evaluations: real images, shrunk."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from t2ikit.core.interfaces import Dataset, Generator
from t2ikit.core.shapes import Shape
from t2ikit.core.super_resolution import shrink
from t2ikit.errors import UserError
from t2ikit.recipes.compose import Model
from t2ikit.utils.images import from_uint8


def real_images(generator: Generator, dataset: Dataset, prompts: Sequence[str], seed: int) -> Tensor | None:
    """Real images (P, 3, H, W) in [-1, 1] of the prompts; None for a model that upscales nothing.

    Raises:
        UserError: the model upscales, and a prompt belongs to no image.
    """
    if generator.super_resolution is None:
        return None
    found = dataset.images(prompts, seed)
    if found is None:
        raise UserError(
            "this model upscales images, and there is none of these prompts in the data",
            expected="captions of the dataset, whose images are shrunk and upscaled again",
            got=", ".join(repr(prompt) for prompt in list(prompts)[:4]),
            fix="leave train.prompts or --prompts out, or take captions of the data",
        )
    return from_uint8(torch.stack(found))


def shapes_of(model: Model, dataset: Dataset, prompts: Sequence[str], seed: int) -> list[Shape]:
    """Height and width for an image of each prompt: those of its real image where the model knows several.

    Prompts without one, and models of squares, get squares.
    """
    found = dataset.images(prompts, seed) if model.context.image_shapes else None
    if found is None:
        return [(model.context.image_size, model.context.image_size)] * len(prompts)
    return [(image.shape[-2], image.shape[-1]) for image in found]


def low_res_images(generator: Generator, real: Tensor | None, samples: int = 1) -> Tensor | None:
    """The images (P * samples, 3, h, w) to upscale; None for a model that upscales nothing."""
    if generator.super_resolution is None or real is None:
        return None
    return shrink(real, generator.super_resolution.ratio).repeat_interleave(samples, 0)
