"""The images that an evaluation measures, and the training images they are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from t2ikit.core.interfaces import Dataset
from t2ikit.core.metric import ImageSet
from t2ikit.core.shapes import Shape
from t2ikit.core.step import resize_level
from t2ikit.recipes.compose import Model
from t2ikit.sampling.images import sample_images, sample_shapes
from t2ikit.sampling.low_res import low_res_images, shapes_of
from t2ikit.utils.images import as_rgb, as_saved, from_uint8
from t2ikit.utils.progress import progress_bar

MOST_TRAINING = 4096
"""Training images in which the nearest are searched, evenly chosen from all."""
MOST_VALUES = 1 << 26
"""Colour values of all of them, so that large images fit the memory."""


@dataclass(frozen=True)
class Canvas:
    """How images of several shapes are measured: whole, each in the middle of a white square.

    Attributes:
        shapes: height and width of each prompt's samples.
        side: of the squares, pixels.
    """

    shapes: Sequence[Shape]
    side: int

    def hold(self, images: Sequence[Tensor]) -> Tensor:
        """Images (C, h, w) in [-1, 1] as RGB on squares, (N, 3, side, side); larger ones are shrunk."""
        squares = torch.ones(len(images), 3, self.side, self.side)
        for square, image in zip(squares, map(as_rgb, images), strict=True):
            scale = min(1, self.side / max(image.shape[-2:]))
            height, width = (max(1, round(n * scale)) for n in image.shape[-2:])
            top, left = (self.side - height) // 2, (self.side - width) // 2
            square[:, top : top + height, left : left + width] = resize_level(image[None], (height, width))[0]
        return squares


def canvas_of(model: Model, dataset: Dataset, prompts: Sequence[str], seed: int) -> Canvas | None:
    """How samples of prompts are measured; None for a model of squares.

    Each has the shape of the real image of its prompt. Where all are squares, nothing is added to them.
    """
    if not model.context.image_shapes:
        return None
    shapes = shapes_of(model, dataset, prompts, seed)
    own = set(shapes) if all(height == width for height, width in shapes) else model.context.image_shapes
    return Canvas(shapes, max(max(shape) for shape in own))


def described(canvas: Canvas | None) -> list[str]:
    """What should be known of how images are measured."""
    if canvas is None or len(set(canvas.shapes)) < 2:
        return []
    return [f"images of several shapes are measured whole, on white squares of {canvas.side} px"]


def stacked(images: Sequence[Tensor], canvas: Canvas | None) -> Tensor:
    """Images (C, H, W) uint8 as one tensor in [-1, 1]."""
    if canvas is None:
        return from_uint8(torch.stack(list(images)))
    return canvas.hold([from_uint8(image) for image in images])


def training_images(dataset: Dataset, canvas: Canvas | None = None) -> Tensor | None:
    """Images (M, 3, H, W) in [-1, 1] that a run was trained on; None where they cannot be read by index."""
    if not dataset.indexed_training:
        return None
    size = dataset.size("train")
    values = 3 * canvas.side**2 if canvas else dataset.record("train", 0).image.numel()
    count = max(1, min(size, MOST_TRAINING, MOST_VALUES // values))
    return stacked([dataset.record("train", i * size // count).image for i in range(count)], canvas)


def sample_image_set(
    model: Model,
    prompts: Sequence[str],
    dataset: Dataset,
    real: Tensor | None,
    train: Tensor | None,
    *,
    repeats: tuple[int, int],
    canvas: Canvas | None = None,
    **options: Any,
) -> ImageSet:
    """Sample what metrics are called with: RGB, on white where images are transparent.

    Args:
        model: what samples.
        prompts: N prompts, one image each.
        dataset, real, train: as in `ImageSet`.
        repeats: (P, K), K more images of each of the first P prompts.
        canvas: how images of several shapes are measured; None: all are the model's squares.
        **options: seed, steps and guidance, as in `sample_images`.
    """
    count, each = repeats
    low_res = low_res_images(model.generator, real)

    def sampled(prompts: Sequence[str], **more: Any) -> Tensor:
        if canvas is None:
            return as_rgb(as_saved(sample_images(model, prompts, **options, **more)))
        images = sample_shapes(model, prompts, canvas.shapes[: len(prompts)], **options, **more)
        return canvas.hold([as_saved(image) for image in images])

    with progress_bar("sampling") as progress:
        images = sampled(prompts, progress=progress, low_res=low_res)
    more = None
    if count and each:
        of_first = None if low_res is None else low_res[:count].repeat_interleave(each, 0)
        numbers = range(1, each + 1)
        more = sampled(prompts[:count], samples=numbers, low_res=of_first).unflatten(0, (count, each))
    seen = (None if images is None else as_rgb(images) for images in (real, more, train, low_res))
    return ImageSet(images, prompts, dataset, *seen)
