"""The batches of a training: this process's share of each step, of a dataset or a stream."""

from __future__ import annotations

import itertools
from collections.abc import Generator

from accelerate.utils import gather_object

from t2ikit.core.interfaces import StreamingDataset
from t2ikit.data.loader import CACHE_BYTES, BatchLoader, LocalBatch, stream
from t2ikit.data.streaming import StreamLoader
from t2ikit.recipes.compose import Components
from t2ikit.training.trainer import Trainer


def training_batches(
    components: Components, trainer: Trainer, start: int, stop: int | None
) -> Generator[LocalBatch, None, None]:
    """This process's batches from step `start` to before `stop`; without end where that is None.

    Close it when no more is wanted: it may read ahead.
    """
    dataset, config, accelerator = components.dataset, trainer.config, trainer.accelerator
    world = accelerator.num_processes
    whose = (config.seed, config.batch, accelerator.process_index, world)
    super_resolution = components.model.generator.super_resolution
    if isinstance(dataset, StreamingDataset):
        gather = _gather if world > 1 else None
        return StreamLoader(dataset, *whose, gather, super_resolution).steps(start, stop)
    room = CACHE_BYTES // (world * max(1, config.workers))
    batches = BatchLoader(dataset, *whose, cache_bytes=room, super_resolution=super_resolution)
    steps = itertools.count(start) if stop is None else range(start, stop)
    return stream(batches, steps, config.workers)


def _gather(captions: list[tuple[str, ...]]) -> list[list[tuple[str, ...]]]:
    """Every process's captions, by rank."""
    return [list(one) for one in gather_object([captions])]
