"""One process's part of a step's samples, before the text is encoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from t2ikit.core.batch import Batch, Condition, number_captions
from t2ikit.core.interfaces import TextEncoder
from t2ikit.core.rng import derive_seed
from t2ikit.core.super_resolution import shrink
from t2ikit.utils.images import from_uint8


@dataclass(frozen=True)
class LocalBatch:
    """The images and captions of one process in one step.

    Attributes:
        images: (B, 3, H, W) uint8.
        captions, wrong: B strings each.
        mismatch_mask: (B,) float.
        all_captions, caption_index, keys, caption_ids: as in `Batch`; the indices are consecutive.
        ratio: of super-resolution; 0: none.
    """

    images: Tensor
    captions: tuple[str, ...]
    wrong: tuple[str, ...]
    mismatch_mask: Tensor
    all_captions: tuple[str, ...]
    caption_index: Tensor
    keys: Tensor
    caption_ids: Tensor
    ratio: int = 0

    @classmethod
    def assemble(
        cls,
        images: Tensor,
        wrong: Sequence[tuple[str, bool]],
        all_captions: tuple[str, ...],
        places: range,
        first_key: int,
        ratio: int = 0,
    ) -> LocalBatch:
        """Put a batch together.

        Args:
            images: (B, 3, H, W) uint8.
            wrong: for each image a caption of another one, and whether it really does not describe this one.
            all_captions: one caption of each sample of the step, over all processes.
            places: where this process's B samples are among those.
            first_key: the key of the step's first sample.
            ratio: of super-resolution; 0: none.
        """
        return cls(
            images=images,
            captions=all_captions[places.start : places.stop],
            wrong=tuple(caption for caption, _ in wrong),
            mismatch_mask=torch.tensor([float(mismatched) for _, mismatched in wrong]),
            all_captions=all_captions,
            caption_index=torch.tensor(list(places)),
            keys=torch.tensor([first_key + place for place in places]),
            caption_ids=number_captions(all_captions),
            ratio=ratio,
        )

    def pin_memory(self) -> LocalBatch:
        """The batch with its images in page-locked memory; `DataLoader` calls this."""
        return replace(self, images=self.images.pin_memory())

    def batch(self, encoder: TextEncoder, device: torch.device | str) -> Batch:
        """Encode the captions and move everything to `device`."""
        text = encoder.encode([*self.all_captions, *self.wrong, ""])
        count = len(self.all_captions)
        all_text, wrong, empty = text[:count], text[count:-1], text[-1:]
        first = int(self.caption_index[0])
        images = from_uint8(self.images.to(device, non_blocking=self.images.is_pinned()))
        low_res = shrink(images, self.ratio) if self.ratio else None
        condition = Condition(self.captions, all_text[first : first + len(self.captions)], empty, low_res)
        batch = Batch(
            images,
            condition,
            wrong,
            self.mismatch_mask,
            self.all_captions,
            all_text,
            self.caption_index,
            self.keys,
            self.caption_ids,
        )
        return batch.to(device)


def choose_caption(captions: Sequence[str], seed: int, purpose: str, key: int) -> str:
    """One of an image's captions, the same for the same seed, purpose and key."""
    return captions[derive_seed(seed, purpose, key) % len(captions)]
