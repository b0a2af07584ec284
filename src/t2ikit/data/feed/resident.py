"""Which data may stay on the device, and its images there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import psutil
import torch
from torch import Tensor

from t2ikit.config.base import DatasetConfig
from t2ikit.core.interfaces import Dataset, StreamingDataset
from t2ikit.data.feed.inputs import to_device
from t2ikit.errors import UserError

SHARE = 4
"""By default images are kept on the device where they take at most 1 / SHARE of its free memory."""


_spare: ContextVar[int | None] = ContextVar("spare", default=None)


class ResidentImages:
    """The images of a dataset on the device, which come there as steps first show them.

    Args:
        count: N, how many there are.
        shape: (C, size, size) of each.
        device: where they lie.

    Attributes:
        pixels: (N, C, size, size) uint8; what no step has shown yet is undefined.
    """

    def __init__(self, count: int, shape: tuple[int, int, int], device: torch.device) -> None:
        self.size = shape[-1]
        self.pixels = torch.empty(count, *shape, dtype=torch.uint8, device=device)

    def add(self, rows: Tensor, images: Tensor) -> None:
        """Put images (n, C, H, W) into rows (n,) long; both on the host."""
        if len(rows):
            sent = to_device({"rows": rows, "images": images}, self.pixels.device)
            self.pixels.index_copy_(0, sent["rows"], sent["images"])


def stays_on_device(config: DatasetConfig, dataset: Dataset, device: torch.device) -> bool:
    """Whether a dataset's training images are to lie on the device, by `data.keep_on` and its free memory.

    Raises:
        UserError: they shall, and cannot.
    """
    if config.keep_on == "host":
        return False
    if isinstance(dataset, StreamingDataset):
        if config.keep_on == "device":
            raise _streamed(config)
        return False
    if len(config.image_shapes) > 1 or config.random_crops:
        if config.keep_on == "device":
            raise _of_several_shapes(config)
        return False
    if config.keep_on == "auto":
        return device.type == "cuda" and SHARE * _bytes(config, dataset) <= free_memory(device)
    free, wanted = free_memory(device), _bytes(config, dataset)
    if wanted > free:
        raise UserError(
            f"data.keep_on: the training images do not fit into the memory of {device}",
            expected=f"at most {free >> 20:,} MiB, which are free there",
            got=f"{wanted >> 20:,} MiB for {dataset.size('train'):,} images of {config.size} px",
            fix="--set data.keep_on=auto, or smaller images",
        )
    return True


def _bytes(config: DatasetConfig, dataset: Dataset) -> int:
    return config.image_channels * config.size**2 * dataset.size("train")


def free_memory(device: torch.device) -> int:
    """Bytes that are free on a device; of one that shares the machine's memory, in that."""
    cuda, spare = device.type == "cuda", _spare.get()
    free = torch.cuda.mem_get_info(device)[0] if cuda else int(psutil.virtual_memory().available)
    return free if spare is None else min(free, spare)


@contextmanager
def limited(spare: int) -> Iterator[None]:
    """Meanwhile, no more than so many bytes are taken to be free."""
    token = _spare.set(spare)
    try:
        yield
    finally:
        _spare.reset(token)


def _of_several_shapes(config: DatasetConfig) -> UserError:
    return UserError(
        "data.keep_on: images of several shapes cannot be kept on the device",
        expected="auto or host with data.fit=buckets or data.crop=random",
        got=f"device, with {config.spec}",
        fix="--set data.keep_on=auto, or data.fit=pad",
    )


def _streamed(config: DatasetConfig) -> UserError:
    return UserError(
        "data.keep_on: a stream cannot be kept on the device",
        expected="auto or host: how many images a stream has is not known before it ends",
        got=f"device, with {config.spec}",
        fix="--set data.keep_on=auto, or data.stream=false for shards that are on this machine",
    )
