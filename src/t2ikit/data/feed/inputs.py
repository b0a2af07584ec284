"""The tensors that a step takes from the host, copied at once, and the batch that the device makes of them.

Letters: B images of this process, P captions of the step over all processes, T = P + B + 1 texts (the
captions of the step, B wrong ones, the empty one), N images and M texts that lie on the device, L tokens,
D text width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from t2ikit.core.batch import Batch, Condition, TextEmbedding
from t2ikit.core.super_resolution import shrink
from t2ikit.utils.images import from_uint8

Inputs = Mapping[str, Tensor]
"""What a step takes from the host, by name; shapes and types stay the same from step to step.

- `mismatch_mask` (B,), `caption_index` (B,), `keys` (B,), `caption_ids` (P,): as in `Batch`.
- `images` (B, 3, H, W) uint8; or, of images on the device, `rows` (B,) long and, where they are cropped,
  `corners` (B, 2) long: the first row and column of each crop.
- `tokens` (T, L, D), `mask` (T, L), `pooled` (T, D); or, of texts on the device, `texts` (T,) long.
- `features/NAME` (P, ...): as in `Batch.caption_features`.
"""
FEATURES = "features/"
ALIGNMENT = 16
"""Bytes at whose multiples each tensor of a buffer begins."""


@dataclass(frozen=True)
class Assembly:
    """How a batch is made of inputs, the same at every step.

    Attributes:
        first: where this process's samples are among all captions of a step.
        ratio: of super-resolution; 0: none.
        crop: side of the crops that are cut out of images on the device; 0: none.
        images: (N, 3, H, W) uint8 on the device; None where a step brings its own.
        texts: M embeddings on the device; None where a step brings its own.
    """

    first: int = 0
    ratio: int = 0
    crop: int = 0
    images: Tensor | None = None
    texts: TextEmbedding | None = None


def assemble(inputs: Inputs, how: Assembly) -> Batch:
    """The batch of inputs that are on the device.

    Runs tensor operations alone, of the same shapes at every step, so that a graph can hold it. Its captions
    are empty strings: `caption_ids` tells them apart.
    """
    text = _text(inputs, how)
    count, pool = len(inputs["keys"]), len(inputs["caption_ids"])
    images = from_uint8(_images(inputs, how))
    low_res = shrink(images, how.ratio) if how.ratio else None
    own = text[how.first : how.first + count]
    return Batch(
        images=images,
        condition=Condition(("",) * count, own, text[pool + count :], low_res),
        wrong=text[pool : pool + count],
        mismatch_mask=inputs["mismatch_mask"],
        all_captions=("",) * pool,
        all_captions_text=text[:pool],
        caption_index=inputs["caption_index"],
        keys=inputs["keys"],
        caption_ids=inputs["caption_ids"],
        caption_features={
            name.removeprefix(FEATURES): value for name, value in inputs.items() if name.startswith(FEATURES)
        },
    )


def _images(inputs: Inputs, how: Assembly) -> Tensor:
    """(B, 3, H, W) uint8."""
    if how.images is None:
        return inputs["images"]
    rows = inputs["rows"]
    if not how.crop:
        return how.images[rows]
    side = torch.arange(how.crop, device=rows.device)
    top, left = inputs["corners"][:, :, None].add(side).unbind(1)  # (B, crop) each
    channel = torch.arange(how.images.shape[1], device=rows.device)
    return how.images[
        rows[:, None, None, None], channel[:, None, None], top[:, None, :, None], left[:, None, None, :]
    ]


def _text(inputs: Inputs, how: Assembly) -> TextEmbedding:
    """T embeddings."""
    if how.texts is None:
        return TextEmbedding(inputs["tokens"], inputs["mask"], inputs["pooled"])
    return how.texts[inputs["texts"]]


class InputBuffer:
    """Inputs in one piece of device memory, whose addresses stay the same however often it is filled.

    Args:
        like: inputs of the shapes and types that it is filled with.
        device: where it lies.

    Attributes:
        tensors: the inputs on the device, views of the piece.
    """

    def __init__(self, like: Inputs, device: torch.device) -> None:
        self._places: dict[str, int] = {}
        end = 0
        for name, value in like.items():
            self._places[name] = end
            end += math.ceil(value.numel() * value.element_size() / ALIGNMENT) * ALIGNMENT
        self._memory = torch.empty(end, dtype=torch.uint8, device=device)
        self.tensors: Inputs = self._views(self._memory, like)

    def _views(self, memory: Tensor, like: Inputs) -> dict[str, Tensor]:
        return {
            name: memory[start : start + like[name].numel() * like[name].element_size()]
            .view(like[name].dtype)
            .view(like[name].shape)
            for name, start in self._places.items()
        }

    def fill(self, inputs: Inputs) -> Inputs:
        """Copy inputs into the buffer, from page-locked memory without waiting; returns `tensors`."""
        staging = torch.empty(
            len(self._memory), dtype=torch.uint8, pin_memory=self._memory.device.type == "cuda"
        )
        for name, view in self._views(staging, inputs).items():
            view.copy_(inputs[name])
        self._memory.copy_(staging, non_blocking=True)
        return self.tensors


def to_device(inputs: Inputs, device: torch.device) -> Inputs:
    """Inputs on `device`, by one copy; those on the CPU stay where they are."""
    return inputs if device.type == "cpu" else InputBuffer(inputs, device).fill(inputs)
