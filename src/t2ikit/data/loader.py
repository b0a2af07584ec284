"""From a dataset or a stream to the batches of each step: a pure function of (seed, step, rank).

Nothing is remembered from step to step, so that a resumed run, another number of processes or another
micro-batch sees the same samples with the same randomness.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from t2ikit.core.batch import Record
from t2ikit.core.interfaces import Dataset, Split, StreamingDataset
from t2ikit.core.rng import derive_seed
from t2ikit.core.super_resolution import SuperResolution
from t2ikit.data.feed.hard_negatives import HardNegatives, known_captions
from t2ikit.data.feed.order import visiting_order
from t2ikit.data.feed.random_crops import RandomCrops, training_record
from t2ikit.data.local_batch import IndexedBatch, LocalBatch, caption_fields, choose_caption
from t2ikit.data.workers import MOST_OF_A_STREAM, prepared

CACHE_BYTES = 1 << 29
KNOWN_CAPTIONS = 1 << 16
"""Images whose captions a loader keeps at hand."""
Gather = Callable[[list[tuple[str, ...]]], list[list[tuple[str, ...]]]]
"""From this process's captions to those of every process, by rank."""


class BatchLoader:
    """The batches of a dataset that is read by index: item `step` is one process's part of that step.

    Args:
        dataset: where the images come from.
        seed: of the run.
        batch: images a step over all processes.
        rank, world: which process this is, of how many; `world` divides `batch`.
        num_workers: processes that prepare batches for `steps`; 0: this one does.
        cache_bytes: memory for decoded images on this machine, shared by all processes.
        split: "train" is visited in a new random order every epoch, each batch of one shape, "validation" in
            its own order with captions that stay the same.
        super_resolution: how a super-resolution model is trained; None: it is none.
        whole: give a super-resolution model whole images, not crops.
        hard_negatives: share of the wrong captions that are nearly right.
    """

    def __init__(
        self,
        dataset: Dataset,
        seed: int,
        batch: int,
        rank: int = 0,
        world: int = 1,
        *,
        num_workers: int = 0,
        cache_bytes: int = CACHE_BYTES,
        split: Split = "train",
        super_resolution: SuperResolution | None = None,
        whole: bool = False,
        hard_negatives: float = 0.0,
    ) -> None:
        self.dataset, self.seed, self.batch, self.split = dataset, seed, batch, split
        self.rank, self.local_batch_size, self.num_workers = rank, batch // world, num_workers
        self.count = dataset.size(split)
        self._index = visiting_order(dataset, split, seed, batch)
        self._records: dict[int, Record] = {}
        self._known: dict[int, tuple[str, ...]] = {}
        self._room = cache_bytes // (world * max(1, num_workers))
        self._cropping_data = (
            split == "train" and isinstance(dataset, RandomCrops) and dataset.crops_at_random
        )
        self.ratio = super_resolution.ratio if super_resolution else 0
        self.cropping = None if whole else super_resolution
        known = known_captions(self.count, functools.partial(dataset.captions, split))
        self.hard_negatives = HardNegatives(hard_negatives, seed, known)

    def steps(self, start: int = 0, stop: int | None = None) -> Generator[LocalBatch, None, None]:
        """The batches of step `start` and all later ones before `stop`, in order.

        Close it when no more is wanted: worker processes read ahead.

        Raises:
            UserError: an image cannot be read.
        """
        return prepared(functools.partial(self._of_worker, _numbers(start, stop)), self.num_workers)

    def indexed_steps(
        self, shape: Sequence[int], start: int = 0, stop: int | None = None
    ) -> Generator[IndexedBatch, None, None]:
        """The same batches, of images that stay on the device: each comes once, from then on by its index.

        Args:
            shape: (C, size, size) of the images.
            start, stop: as for `steps`.

        Raises:
            UserError: an image cannot be read.
        """
        read = functools.partial(self._indexed_of_worker, shape, _numbers(start, stop))
        return prepared(read, self.num_workers)

    def _of_worker(self, steps: Iterable[int], worker: int, workers: int) -> Iterator[LocalBatch]:
        return (self[step] for step in itertools.islice(steps, worker, None, workers))

    def _indexed_of_worker(
        self, shape: Sequence[int], steps: Iterable[int], worker: int, workers: int
    ) -> Iterator[IndexedBatch]:
        shown: set[int] = set()
        for number, step in enumerate(steps):
            rows = [self._index(key) for key in self._keys(step)]
            new = [row for row in dict.fromkeys(rows) if row not in shown]
            shown.update(new)
            if number % workers == worker:
                yield self._indexed(shape, step, rows, new)

    def __getitem__(self, step: int) -> LocalBatch:
        images = torch.stack([self._image(key) for key in self._keys(step)])
        return LocalBatch(images=images, **self._captions(step))

    def _indexed(self, shape: Sequence[int], step: int, rows: list[int], new: list[int]) -> IndexedBatch:
        images = [self.dataset.record(self.split, row).image for row in new]
        return IndexedBatch(
            rows=torch.tensor(rows),
            corners=torch.tensor([self._corner(shape[-1], key) for key in self._keys(step)]),
            new_rows=torch.tensor(new, dtype=torch.long),
            new_images=torch.stack(images) if images else torch.empty(0, *shape, dtype=torch.uint8),
            **self._captions(step),
        )

    def _keys(self, step: int) -> range:
        """The keys of this process's samples."""
        first = step * self.batch + self.rank * self.local_batch_size
        return range(first, first + self.local_batch_size)

    def _captions(self, step: int) -> dict[str, Any]:
        first = self.rank * self.local_batch_size
        return caption_fields(
            [self._wrong(key) for key in self._keys(step)],
            tuple(self._caption(key) for key in range(step * self.batch, (step + 1) * self.batch)),
            range(first, first + self.local_batch_size),
            step * self.batch,
            self.ratio,
        )

    def _corner(self, size: int, key: int) -> tuple[int, int]:
        if self.cropping is None or not self.cropping.crops(size):
            return 0, 0
        return self.cropping.random_corner(size, self.seed, key)

    def _image(self, key: int) -> Tensor:
        image = self._record(self._index(key), key).image
        return image if self.cropping is None else self.cropping.random_crop(image, self.seed, key)

    def _caption(self, key: int) -> str:
        return choose_caption(self._captions_of(self._index(key)), self.seed, "caption", key)

    def _wrong(self, key: int) -> tuple[str, bool]:
        """A caption from anywhere in the split, and whether it does not belong to this sample's image."""
        index = self._index(key)
        if hard := self.hard_negatives.wrong(self._caption(key), key, self._captions_of(index)):
            return hard
        other = derive_seed(self.seed, "wrong index", key) % self.count
        caption = choose_caption(self._captions_of(other), self.seed, "wrong caption", key)
        return caption, other != index and caption not in self._captions_of(index)

    def _captions_of(self, index: int) -> tuple[str, ...]:
        """The captions of image `index`, kept while there are not too many."""
        captions = self._known.get(index)
        if captions is None:
            if len(self._known) >= KNOWN_CAPTIONS:
                self._known.clear()
            captions = self._known[index] = self.dataset.captions(self.split, index)
        return captions

    def _record(self, index: int, key: int) -> Record:
        """Record `index` for a sample, kept in memory while there is room: most datasets are small."""
        if self._cropping_data:
            return training_record(self.dataset, "train", index, derive_seed(self.seed, "data crop", key))
        record = self._records.get(index)
        if record is None:
            record = self.dataset.record(self.split, index)
            size = record.image.numel()
            if size <= self._room:
                self._room -= size
                self._records[index] = record
        return record


def _alone(captions: list[tuple[str, ...]]) -> list[list[tuple[str, ...]]]:
    return [captions]


@dataclass(frozen=True)
class _Samples:
    """What a stream gives to one step of one process: images (B, 3, H, W) and the captions of each."""

    images: Tensor
    captions: list[tuple[str, ...]]


class StreamLoader:
    """One process's batches of a stream.

    The processes tell each other their captions, since `all_captions` holds those of the whole effective
    batch. Wrong captions are chosen among them, since those of the whole dataset are not known.

    Args:
        dataset: where the images come from.
        seed: of the run.
        batch: images a step over all processes.
        rank, world: which process this is, of how many; `world` divides `batch`.
        num_workers: 0: this process reads the stream; else one worker process reads it ahead.
        gather: tells the captions of all processes; None for one process.
        super_resolution: how a super-resolution model is trained; None: it is none.
        hard_negatives: share of the wrong captions that are nearly right.
    """

    def __init__(
        self,
        dataset: StreamingDataset,
        seed: int,
        batch: int,
        rank: int = 0,
        world: int = 1,
        *,
        num_workers: int = 0,
        gather: Gather | None = None,
        super_resolution: SuperResolution | None = None,
        hard_negatives: float = 0.0,
    ) -> None:
        self.dataset, self.seed, self.batch, self.hard_negatives = dataset, seed, batch, hard_negatives
        self.rank, self.world, self.local_batch_size = rank, world, batch // world
        self.num_workers = min(MOST_OF_A_STREAM, num_workers)
        self.gather = gather or _alone
        self.super_resolution = super_resolution

    def steps(self, start: int = 0, stop: int | None = None) -> Generator[LocalBatch, None, None]:
        """The batches of step `start` and all later ones before `stop`, in order.

        Close it when no more is wanted: a worker process reads ahead.

        Raises:
            UserError: the shards cannot be read.
        """
        read = functools.partial(self._read, start, stop)
        with contextlib.closing(prepared(read, self.num_workers)) as found:
            for step, samples in zip(_numbers(start, stop), found):
                yield self._local_batch(step, samples)

    def _read(self, start: int, stop: int | None, *_: int) -> Iterator[_Samples]:
        count = self.local_batch_size
        records = self.dataset.records(self.seed, self.rank, self.world, start * count)
        for step in _numbers(start, stop):
            first = step * self.batch + self.rank * count
            mine = list(itertools.islice(records, count))
            images = [self._crop(record.image, first + i) for i, record in enumerate(mine)]
            yield _Samples(torch.stack(images), [record.captions for record in mine])

    def _crop(self, image: Tensor, key: int) -> Tensor:
        return self.super_resolution.random_crop(image, self.seed, key) if self.super_resolution else image

    def _local_batch(self, step: int, samples: _Samples) -> LocalBatch:
        known = [captions for one in self.gather(samples.captions) for captions in one]
        keys = range(step * self.batch, (step + 1) * self.batch)
        first = self.rank * self.local_batch_size
        places = range(first, first + self.local_batch_size)
        own = tuple(choose_caption(c, self.seed, "caption", key) for c, key in zip(known, keys, strict=True))
        hard = HardNegatives(self.hard_negatives, self.seed, itertools.chain.from_iterable(known))
        captions = caption_fields(
            [
                hard.wrong(own[place], keys[place], known[place]) or self._wrong(known, place, keys[place])
                for place in places
            ],
            own,
            places,
            keys.start,
            self.super_resolution.ratio if self.super_resolution else 0,
        )
        return LocalBatch(images=samples.images, **captions)

    def _wrong(self, known: Sequence[tuple[str, ...]], place: int, key: int) -> tuple[str, bool]:
        """A caption of another sample of the step, and whether it does not belong to this one."""
        distance = 1 + derive_seed(self.seed, "wrong index", key) % max(1, len(known) - 1)
        other = (place + distance) % len(known)
        caption = choose_caption(known[other], self.seed, "wrong caption", key)
        return caption, other != place and caption not in known[place]


def _numbers(start: int, stop: int | None) -> Iterable[int]:
    return itertools.count(start) if stop is None else range(start, stop)
