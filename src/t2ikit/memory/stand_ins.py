"""What takes the place of data while memory is predicted: right in shape, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from t2ikit.core.batch import Batch, Condition, TextEmbedding
from t2ikit.core.super_resolution import SuperResolution
from t2ikit.recipes.recipe import Recipe
from t2ikit.registry.specs import Context

CAPTION = "a drawing of a red cat"


def without_data(recipe: Recipe) -> Recipe:
    """The recipe with a dataset that is never opened."""
    data = recipe.parts["data"]
    spec = replace(data.entry.spec, build=lambda config, context: None)
    unopened = replace(data, entry=replace(data.entry, spec=spec))
    return replace(recipe, parts={**recipe.parts, "data": unopened})


def make_batch(
    size: int,
    context: Context,
    captions: tuple[str, ...] = (),
    super_resolution: SuperResolution | None = None,
) -> Batch:
    """A batch of `size` samples of the largest shape, with `captions`, repeated, or one of our own."""
    captions = captions or (CAPTION,)
    pool = tuple(captions[i % len(captions)] for i in range(size))
    side = (super_resolution.crop if super_resolution else 0) or context.image_size
    shape = max(context.image_shapes, key=math.prod, default=(side, side))
    channels = context.image_channels
    low_res = (
        torch.empty(size, channels, side // super_resolution.ratio, side // super_resolution.ratio)
        if super_resolution
        else None
    )
    return Batch(
        images=torch.empty(size, channels, *shape),
        condition=Condition(pool, _text(size, context), _text(1, context), low_res),
        wrong=_text(size, context),
        mismatch_mask=torch.ones(size),
        all_captions=pool,
        all_captions_text=_text(size, context),
        caption_index=torch.arange(size),
        keys=torch.arange(size),
    )


def _text(size: int, context: Context) -> TextEmbedding:
    length, width = context.text_length, context.text_width
    mask = torch.ones(size, length, dtype=torch.bool)
    return TextEmbedding(torch.empty(size, length, width), mask, torch.empty(size, width))


@contextmanager
def movable_modules() -> Iterator[None]:
    """Let `nn.Module.to` move fake parameters, whose contents torch would swap and cannot."""
    original = nn.Module._apply
    nn.Module._apply = _apply  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.Module._apply = original  # type: ignore[method-assign]


def _apply(module: nn.Module, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
    for child in module.children() if recurse else ():
        child._apply(fn)
    for name, parameter in module._parameters.items():
        if parameter is not None:
            moved = fn(parameter)
            if moved is not parameter:
                module._parameters[name] = nn.Parameter(moved.detach(), parameter.requires_grad)
    for name, buffer in module._buffers.items():
        if buffer is not None:
            module._buffers[name] = fn(buffer)
    return module
