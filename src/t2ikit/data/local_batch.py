"""One process's part of a step's samples, before the text is encoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from t2ikit.core.batch import Batch, number_captions
from t2ikit.core.interfaces import TextEncoder
from t2ikit.core.rng import derive_seed
from t2ikit.data.captions import WeightedCaptions
from t2ikit.data.feed.inputs import Assembly, Inputs, assemble, to_device

SMALL = 1 << 16
"""Bytes up to which a tensor is copied from process to process."""


@dataclass(frozen=True)
class LocalCaptions:
    """The captions of one process in one step.

    Attributes:
        captions, wrong: B strings each.
        mismatch_mask: (B,) float.
        all_captions, caption_index, keys, caption_ids: as in `Batch`; the indices are consecutive.
        ratio: of super-resolution; 0: none.
    """

    captions: tuple[str, ...]
    wrong: tuple[str, ...]
    mismatch_mask: Tensor
    all_captions: tuple[str, ...]
    caption_index: Tensor
    keys: Tensor
    caption_ids: Tensor
    ratio: int

    def __getstate__(self) -> dict[str, Any]:
        """Small tensors as arrays: of a tensor, a worker process shares the memory, which takes longer."""
        return {
            name: value.numpy() if isinstance(value, Tensor) and value.nbytes <= SMALL else value
            for name, value in vars(self).items()
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            tensor = torch.from_numpy(value) if isinstance(value, np.ndarray) else value
            object.__setattr__(self, name, tensor)

    @property
    def texts(self) -> list[str]:
        """What is encoded: the captions of the step, the wrong ones, the empty one."""
        return [*self.all_captions, *self.wrong, ""]

    @property
    def numbers(self) -> dict[str, Tensor]:
        """The inputs that are the same wherever images and texts lie."""
        names = ("mismatch_mask", "caption_index", "keys", "caption_ids")
        return {name: getattr(self, name) for name in names}

    def with_captions(self, batch: Batch) -> Batch:
        """The batch that was made of these samples, with their captions."""
        condition = replace(batch.condition, captions=self.captions)
        return replace(batch, condition=condition, all_captions=self.all_captions)


@dataclass(frozen=True)
class LocalBatch(LocalCaptions):
    """The images and captions of one process in one step.

    Attributes:
        images: (B, 3, H, W) uint8.
    """

    images: Tensor

    def inputs(self, encoder: TextEncoder) -> Inputs:
        """All that the device needs for the batch, on the host."""
        text = encoder.encode(self.texts)
        embedded = {"tokens": text.tokens, "mask": text.mask, "pooled": text.pooled}
        return {"images": self.images, **embedded, **self.numbers}

    def batch(self, encoder: TextEncoder, device: torch.device | str) -> Batch:
        """Encode the captions and make the batch on `device`."""
        how = Assembly(first=int(self.caption_index[0]), ratio=self.ratio)
        return self.with_captions(assemble(to_device(self.inputs(encoder), torch.device(device)), how))


@dataclass(frozen=True)
class IndexedBatch(LocalCaptions):
    """A local batch whose images lie on the device, but for those that no earlier step has shown.

    Attributes:
        rows: (B,) long, the index of each image.
        corners: (B, 2) long, the first row and column of each crop; 0 where images are whole.
        new_rows: (n,) long, the indices of the images that come with it.
        new_images: (n, 3, H, W) uint8, whole.
    """

    rows: Tensor
    corners: Tensor
    new_rows: Tensor
    new_images: Tensor


def caption_fields(
    wrong: Sequence[tuple[str, bool]],
    all_captions: tuple[str, ...],
    places: range,
    first_key: int,
    ratio: int = 0,
) -> dict[str, Any]:
    """The fields of `LocalCaptions`.

    Args:
        wrong: for each image a caption of another one, and whether it really does not describe this one.
        all_captions: one caption of each sample of the step, over all processes.
        places: where this process's B samples are among those.
        first_key: the key of the step's first sample.
        ratio: of super-resolution; 0: none.
    """
    return {
        "captions": all_captions[places.start : places.stop],
        "wrong": tuple(caption for caption, _ in wrong),
        "mismatch_mask": torch.tensor([float(mismatched) for _, mismatched in wrong]),
        "all_captions": all_captions,
        "caption_index": torch.tensor(list(places)),
        "keys": torch.tensor([first_key + place for place in places]),
        "caption_ids": number_captions(all_captions),
        "ratio": ratio,
    }


def choose_caption(captions: Sequence[str], seed: int, purpose: str, key: int) -> str:
    """One of an image's captions by their weights, the same for the same seed, purpose and key."""
    number = derive_seed(seed, purpose, key)
    if isinstance(captions, WeightedCaptions):
        return captions.at(number / 2**63)
    return captions[number % len(captions)]
