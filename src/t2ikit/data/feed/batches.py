"""Batches for training: the host's part of each step, and the device's."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from t2ikit.core.batch import Batch
from t2ikit.core.interfaces import TextEncoder
from t2ikit.core.super_resolution import SuperResolution
from t2ikit.data.feed.inputs import FEATURES, Assembly, Inputs, assemble, to_device
from t2ikit.data.feed.resident import ResidentImages
from t2ikit.data.feed.text_table import TextTable
from t2ikit.data.local_batch import IndexedBatch, LocalBatch

DEVICE_TEXT_BYTES, HOST_TEXT_BYTES = 1 << 28, 1 << 26
AnyBatch = LocalBatch | IndexedBatch
CaptionFeatures = Mapping[str, Callable[[Sequence[str]], Tensor]]
"""What losses make of the captions of a step on the host, by `caption_key`."""


class BatchMaker:
    """Makes batches on the device.

    Args:
        encoder: of the captions.
        device: where batches are made.
        batch: captions of a step, over all processes.
        local: images of a step, of this process.
        rank: which process this is.
        super_resolution: how a super-resolution model is trained; None: it is none.
        resident: the images that are on the device; None: each step brings its own, and their embeddings.
        features: what losses need of the captions.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        device: torch.device,
        batch: int,
        local: int,
        rank: int = 0,
        *,
        super_resolution: SuperResolution | None = None,
        resident: ResidentImages | None = None,
        features: CaptionFeatures | None = None,
    ) -> None:
        self.device, self.resident, self.features = device, resident, features or {}
        where, room = (device, DEVICE_TEXT_BYTES) if resident else (torch.device("cpu"), HOST_TEXT_BYTES)
        self.texts = TextTable(encoder, where, room, least=batch + local + 1)
        self.how = Assembly(
            first=rank * local,
            ratio=super_resolution.ratio if super_resolution else 0,
            crop=_crop(super_resolution, resident),
            images=resident.pixels if resident else None,
            texts=self.texts.embeddings if resident else None,
        )

    def inputs(self, local_batch: AnyBatch) -> Inputs:
        """The host's part of a step, of the same shapes at every step. What is new goes to the device.

        Only then may the next step's be asked for when `assemble` has been given these: the table of texts on
        the device may forget them.
        """
        rows = self.texts.rows(local_batch.texts)
        features = {FEATURES + key: read(local_batch.all_captions) for key, read in self.features.items()}
        if isinstance(local_batch, LocalBatch):
            text = self.texts.embeddings[rows]
            embedded = {"tokens": text.tokens, "mask": text.mask, "pooled": text.pooled}
            return {"images": local_batch.images, **embedded, **local_batch.numbers, **features}
        if self.resident is None:
            raise ValueError("an indexed batch needs images on the device")
        self.resident.add(local_batch.new_rows, local_batch.new_images)
        corners = {"corners": local_batch.corners} if self.how.crop else {}
        return {"rows": local_batch.rows, **corners, "texts": rows, **local_batch.numbers, **features}

    def assemble(self, inputs: Inputs) -> Batch:
        """The device's part of a step: a batch, without its captions, of inputs that are on the device."""
        return assemble(inputs, self.how)

    def batch(self, local_batch: AnyBatch) -> Batch:
        """Both parts, one after the other, and the captions."""
        made = self.assemble(to_device(self.inputs(local_batch), self.device))
        return local_batch.with_captions(made)


def _crop(super_resolution: SuperResolution | None, resident: ResidentImages | None) -> int:
    """Side of the crops that the device cuts out of images; 0: none."""
    if resident is None or super_resolution is None or not super_resolution.crops(resident.size):
        return 0
    return super_resolution.crop


class Feed:
    """A process's steps in order: iterate over the samples of each, and let `maker` make batches of them.

    Args:
        batches: the samples; close the feed when no more is wanted, for worker processes read ahead.
        maker: of the batches.
    """

    def __init__(self, batches: Generator[AnyBatch, None, None], maker: BatchMaker) -> None:
        self.batches, self.maker = batches, maker

    def __iter__(self) -> Iterator[AnyBatch]:
        return self.batches

    def close(self) -> None:
        """End the worker processes."""
        self.batches.close()
