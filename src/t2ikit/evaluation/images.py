"""The images that an evaluation measures: drawn ones, real ones beside them, and what drawing cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from t2ikit.core.interfaces import Dataset
from t2ikit.core.metric import ImageSet
from t2ikit.recipes.compose import Model
from t2ikit.sampling.draw import sample
from t2ikit.sampling.low_res import low_res_images
from t2ikit.utils.images import as_saved, from_uint8
from t2ikit.utils.progress import progress_bar

if TYPE_CHECKING:
    from t2ikit.evaluation.results import EvaluationOptions

MOST_TRAINING = 4096
"""Training images that are looked through for the nearest, evenly chosen from all."""
MOST_VALUES = 1 << 26
"""Colour values of all of them, so that large images fit the memory."""


@dataclass(frozen=True)
class Pictures:
    """What drawings are compared with, as in `ImageSet`."""

    dataset: Dataset
    prompts: Sequence[str]
    real: Tensor | None
    train: Tensor | None


def reference(
    dataset: Dataset, prompts: Sequence[str], seed: int, trained_on: Dataset | None = None
) -> Pictures:
    """Real images of the prompts, and images of the data that the run was trained on, if it is known."""
    found = dataset.images(prompts, seed)
    real = None if found is None else from_uint8(torch.stack(found))
    return Pictures(dataset, prompts, real, _training_images(trained_on))


def _training_images(dataset: Dataset | None) -> Tensor | None:
    if dataset is None or not dataset.indexed_training:
        return None
    size = dataset.size("train")
    count = max(1, min(size, MOST_TRAINING, MOST_VALUES // dataset.record("train", 0).image.numel()))
    return from_uint8(torch.stack([dataset.record("train", i * size // count).image for i in range(count)]))


def draw_all(model: Model, beside: Pictures, options: EvaluationOptions, call: dict[str, Any]) -> ImageSet:
    """One image for each prompt and `copies` more for the first `again` of them."""
    few, copies = options.again, options.copies
    given = low_res_images(model.generator, beside.real)
    with progress_bar("sampling") as progress:
        images = sample(model, beside.prompts, seed=options.seed, progress=progress, low_res=given, **call)
    again = None
    if few and copies:
        again_of = None if given is None else given[:few].repeat_interleave(copies, 0)
        numbers, prompts = range(1, copies + 1), beside.prompts[:few]
        more = sample(model, prompts, samples=numbers, seed=options.seed, low_res=again_of, **call)
        again = as_saved(more).unflatten(0, (few, copies))
    return ImageSet(as_saved(images), beside.prompts, beside.dataset, beside.real, again, beside.train, given)
