"""The images that an evaluation measures, and the training images they are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from t2ikit.core.interfaces import Dataset
from t2ikit.core.metric import ImageSet
from t2ikit.recipes.compose import Model
from t2ikit.sampling.images import sample_images
from t2ikit.sampling.low_res import low_res_images
from t2ikit.utils.images import as_rgb, as_saved, from_uint8
from t2ikit.utils.progress import progress_bar

MOST_TRAINING = 4096
"""Training images in which the nearest are searched, evenly chosen from all."""
MOST_VALUES = 1 << 26
"""Colour values of all of them, so that large images fit the memory."""


def training_images(dataset: Dataset) -> Tensor | None:
    """Images (M, 3, H, W) in [-1, 1] that a run was trained on; None where they cannot be read by index."""
    if not dataset.indexed_training:
        return None
    size = dataset.size("train")
    count = max(1, min(size, MOST_TRAINING, MOST_VALUES // dataset.record("train", 0).image.numel()))
    return from_uint8(torch.stack([dataset.record("train", i * size // count).image for i in range(count)]))


def sample_image_set(
    model: Model,
    prompts: Sequence[str],
    dataset: Dataset,
    real: Tensor | None,
    train: Tensor | None,
    *,
    repeats: tuple[int, int],
    **options: Any,
) -> ImageSet:
    """Sample what metrics are called with: RGB, on white where images are transparent.

    Args:
        model: what samples.
        prompts: N prompts, one image each.
        dataset, real, train: as in `ImageSet`.
        repeats: (P, K), K more images of each of the first P prompts.
        **options: seed, steps and guidance, as in `sample_images`.
    """
    count, each = repeats
    low_res = low_res_images(model.generator, real)
    with progress_bar("sampling") as progress:
        images = sample_images(model, prompts, progress=progress, low_res=low_res, **options)
    more = None
    if count and each:
        of_first = None if low_res is None else low_res[:count].repeat_interleave(each, 0)
        numbers = range(1, each + 1)
        more = sample_images(model, prompts[:count], samples=numbers, low_res=of_first, **options)
        more = as_rgb(as_saved(more)).unflatten(0, (count, each))
    seen = (None if images is None else as_rgb(images) for images in (real, more, train, low_res))
    return ImageSet(as_rgb(as_saved(images)), prompts, dataset, *seen)
