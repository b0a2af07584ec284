"""From a dataset or a stream to the batches of each step: a pure function of (seed, step, rank).

Nothing is remembered from step to step, so that a resumed run, another number of processes or another
micro-batch sees the same samples with the same randomness.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from t2ikit.core.batch import Record
from t2ikit.core.interfaces import Dataset, Split, StreamingDataset
from t2ikit.core.rng import derive_seed
from t2ikit.core.super_resolution import SuperResolution
from t2ikit.data.local_batch import LocalBatch, choose_caption
from t2ikit.data.workers import prepared

CACHE_BYTES = 1 << 29
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
        split: "train" is visited in a new random order every epoch, "validation" in its own order
            with captions that stay the same.
        super_resolution: how a super-resolution model is trained; None: it is none.
        whole: give a super-resolution model whole images, not crops.
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
    ) -> None:
        self.dataset, self.seed, self.batch, self.split = dataset, seed, batch, split
        self.rank, self.local_batch_size, self.num_workers = rank, batch // world, num_workers
        self.count = dataset.size(split)
        self._records: dict[int, Record] = {}
        self._room = cache_bytes // (world * max(1, num_workers))
        self.ratio = super_resolution.ratio if super_resolution else 0
        self.cropping = None if whole else super_resolution

    def steps(self, start: int = 0, stop: int | None = None) -> Generator[LocalBatch, None, None]:
        """The batches of step `start` and all later ones before `stop`, in order.

        Close it when no more is wanted: worker processes read ahead.

        Raises:
            UserError: an image cannot be read.
        """
        return prepared(functools.partial(self._of_worker, _numbers(start, stop)), self.num_workers)

    def _of_worker(self, steps: Iterable[int], worker: int, workers: int) -> Iterator[LocalBatch]:
        return (self[step] for step in itertools.islice(steps, worker, None, workers))

    def __getitem__(self, step: int) -> LocalBatch:
        keys = range(step * self.batch, (step + 1) * self.batch)
        all_captions = tuple(self._caption(key) for key in keys)
        first = self.rank * self.local_batch_size
        places = range(first, first + self.local_batch_size)
        mine = keys[first : first + self.local_batch_size]
        return LocalBatch.assemble(
            torch.stack([self._image(key) for key in mine]),
            [self._wrong(key) for key in mine],
            all_captions,
            places,
            keys.start,
            self.ratio,
        )

    def _image(self, key: int) -> Tensor:
        image = self._record(self._index(key)).image
        return image if self.cropping is None else self.cropping.random_crop(image, self.seed, key)

    def _index(self, key: int) -> int:
        epoch, place = divmod(key, self.count)
        if self.split == "validation":
            return place
        return int(_order(self.seed, epoch, self.count)[place])

    def _caption(self, key: int) -> str:
        captions = self.dataset.captions(self.split, self._index(key))
        return choose_caption(captions, self.seed, "caption", key)

    def _wrong(self, key: int) -> tuple[str, bool]:
        """A caption from anywhere in the split, and whether it does not belong to this sample's image."""
        index = self._index(key)
        other = derive_seed(self.seed, "wrong index", key) % self.count
        caption = choose_caption(self.dataset.captions(self.split, other), self.seed, "wrong caption", key)
        return caption, other != index and caption not in self.dataset.captions(self.split, index)

    def _record(self, index: int) -> Record:
        """Record `index`, kept in memory while there is room: most datasets are small."""
        record = self._records.get(index)
        if record is None:
            record = self.dataset.record(self.split, index)
            size = record.image.numel()
            if size <= self._room:
                self._room -= size
                self._records[index] = record
        return record


@functools.lru_cache(maxsize=2)
def _order(seed: int, epoch: int, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(derive_seed(seed, "order", epoch))
    return torch.randperm(count, generator=generator)


def _alone(captions: list[tuple[str, ...]]) -> list[list[tuple[str, ...]]]:
    return [captions]


@dataclass(frozen=True)
class _Samples:
    """What a stream gives to one step of one process: images (B, 3, H, W) and the captions of each."""

    images: Tensor
    captions: list[tuple[str, ...]]

    def pin_memory(self) -> _Samples:
        return replace(self, images=self.images.pin_memory())


class StreamLoader:
    """One process's batches of a stream.

    The processes tell each other their captions, since `all_captions` holds those of the whole effective
    batch. Wrong captions are chosen among them, since those of the whole dataset are not known.

    Args:
        dataset: where the images come from.
        seed: of the run.
        batch: images a step over all processes.
        rank, world: which process this is, of how many; `world` divides `batch`.
        num_workers: 0: this process reads the stream; else one worker process reads it ahead. More would not
            help: each had to open every shard, which is decoded by several threads already.
        gather: tells the captions of all processes; None for one process.
        super_resolution: how a super-resolution model is trained; None: it is none.
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
    ) -> None:
        self.dataset, self.seed, self.batch = dataset, seed, batch
        self.rank, self.world, self.local_batch_size = rank, world, batch // world
        self.num_workers = min(1, num_workers)
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
        return LocalBatch.assemble(
            samples.images,
            [self._wrong(known, place, keys[place]) for place in places],
            tuple(choose_caption(c, self.seed, "caption", key) for c, key in zip(known, keys, strict=True)),
            places,
            keys.start,
            self.super_resolution.ratio if self.super_resolution else 0,
        )

    def _wrong(self, known: Sequence[tuple[str, ...]], place: int, key: int) -> tuple[str, bool]:
        """A caption of another sample of the step, and whether it does not belong to this one."""
        distance = 1 + derive_seed(self.seed, "wrong index", key) % max(1, len(known) - 1)
        other = (place + distance) % len(known)
        caption = choose_caption(known[other], self.seed, "wrong caption", key)
        return caption, other != place and caption not in known[place]


def _numbers(start: int, stop: int | None) -> Iterable[int]:
    return itertools.count(start) if stop is None else range(start, stop)
