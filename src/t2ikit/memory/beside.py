"""What a training on a CUDA device holds beside the tensors of a step that Python launches."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from t2ikit.core.batch import Batch
from t2ikit.core.tensors import tensors_of
from t2ikit.data.feed.batches import DEVICE_TEXT_BYTES
from t2ikit.recipes.recipe import Recipe
from t2ikit.training.launching.choice import not_captured

CONTEXT = 500 * 2**20
"""Bytes that CUDA and the libraries' code take for themselves; it varies by some hundred MiB."""


def captures(recipe: Recipe) -> bool:
    """Whether steps are captured as CUDA graphs, in one process on a CUDA device."""
    refused = not_captured(cuda=True, processes=1, precision=recipe.train.precision)
    return recipe.train.compile != "off" and not refused


def sparse(recipe: Recipe) -> bool:
    """Whether some losses are left out of some steps, so that there is more than one graph."""
    return any(use.config.every > 1 for use in recipe.losses.values())


def captured(batch: Batch, state: Iterable[Tensor], light: int, graphs: int) -> int:
    """Bytes that capturing adds at most.

    While a graph is compared with Python's step, the state is held twice. Graphs have a batch each, and keep
    the memory that they need between them, beside which Python makes the steps that are not captured yet.

    Args:
        batch: of a step.
        state: what a step changes.
        light: bytes of the step that is captured first, where other steps are made beside its graph.
        graphs: how many there are.
    """
    return graphs * _bytes(tensors_of(batch)) + _bytes(state) + light


def text_table(recipe: Recipe, batch: Batch) -> int:
    """Bytes of the embeddings of captions that lie on the device with the images, if those may."""
    if recipe.parts["data"].config.keep_on == "host":
        return 0
    return max(DEVICE_TEXT_BYTES, (2 * len(batch) + 1) * _bytes(tensors_of(batch.condition.empty)))


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(one.numel() * one.element_size() for one in tensors)
