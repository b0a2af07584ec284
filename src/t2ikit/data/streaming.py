"""From a stream of images to the batches of each step.

The processes tell each other their captions, for the pool is that of the whole effective batch; wrong
captions are drawn from it, since those of the whole dataset are not known.
"""

from __future__ import annotations

import atexit
import itertools
import queue
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress

import torch

from t2ikit.core.batch import Record
from t2ikit.core.interfaces import StreamingDataset
from t2ikit.core.rng import derive_seed
from t2ikit.core.super_resolution import SuperResolution
from t2ikit.data.loader import LocalBatch

Gather = Callable[[list[tuple[str, ...]]], list[list[tuple[str, ...]]]]
"""Every process's captions, by rank, from this process's own."""
AHEAD = 4
"""Steps whose images are read before they are asked for."""
STALLED = 10.0
"""Seconds to wait at the end for what is just being read, an image or a shard; a source may never answer."""


class StreamLoader:
    """One process's batches of a stream.

    Args:
        dataset: where the images come from.
        seed: of the run.
        batch: images a step over all processes.
        rank, world: which process this is, of how many; `world` divides `batch`.
        gather: None for one process.
        upscales: how a super-resolution model is trained; None: it is none.
    """

    def __init__(
        self,
        dataset: StreamingDataset,
        seed: int,
        batch: int,
        rank: int = 0,
        world: int = 1,
        gather: Gather | None = None,
        super_resolution: SuperResolution | None = None,
    ) -> None:
        self.dataset, self.seed, self.batch = dataset, seed, batch
        self.rank, self.world, self.local_batch_size = rank, world, batch // world
        self.gather = gather or (lambda captions: [captions])
        self.super_resolution = super_resolution

    def steps(self, start: int, stop: int | None = None) -> Generator[LocalBatch, None, None]:
        """The batches of step `start` and all later ones before `stop`.

        Close it when no more is wanted: it reads ahead.

        Raises:
            UserError: the shards cannot be read.
        """
        records = self.dataset.records(self.seed, self.rank, self.world, start * self.local_batch_size)
        numbers = itertools.count(start) if stop is None else range(start, stop)
        with closing(_read_ahead(records, self.local_batch_size)) as chunks:
            for step, mine in zip(numbers, chunks):
                yield self._share(step, mine)

    def _share(self, step: int, mine: Sequence[Record]) -> LocalBatch:
        by_rank = self.gather([record.captions for record in mine])
        everyone = [captions for one in by_rank for captions in one]
        numbers = range(step * self.batch, (step + 1) * self.batch)
        pool = tuple(_draw(c, self.seed, "caption", n) for c, n in zip(everyone, numbers, strict=True))
        own = range(self.rank * self.local_batch_size, (self.rank + 1) * self.local_batch_size)
        wrong = [self._wrong(everyone, place, numbers[place]) for place in own]
        images = [record.image for record in mine]
        if self.super_resolution:
            images = [
                self.super_resolution.piece(image, self.seed, numbers[p]) for p, image in zip(own, images)
            ]
        return LocalBatch(
            images=torch.stack(images),
            captions=tuple(pool[place] for place in own),
            wrong=tuple(caption for caption, _ in wrong),
            mismatch_mask=torch.tensor([float(ok) for _, ok in wrong]),
            all_captions=pool,
            caption_index=torch.tensor(list(own)),
            keys=torch.tensor([numbers[place] for place in own]),
            ratio=self.super_resolution.ratio if self.super_resolution else 0,
        )

    def _wrong(self, everyone: Sequence[tuple[str, ...]], place: int, number: int) -> tuple[str, bool]:
        """A caption of another sample of the batch, and whether it is wrong for this one."""
        step = 1 + derive_seed(self.seed, "wrong index", number) % max(1, len(everyone) - 1)
        other = (place + step) % len(everyone)
        caption = _draw(everyone[other], self.seed, "wrong caption", number)
        return caption, other != place and caption not in everyone[place]


def _draw(captions: tuple[str, ...], seed: int, what: str, number: int) -> str:
    return captions[derive_seed(seed, what, number) % len(captions)]


def _read_ahead(records: Iterator[Record], count: int) -> Generator[list[Record], None, None]:
    """Lists of `count` records, read by a thread while the model trains.

    The thread ends when this is closed, or else when the interpreter is about to: one that is at work in
    torch while the interpreter goes down aborts the process. Both wait for it, though not for ever.
    """
    ready: queue.Queue[list[Record] | BaseException] = queue.Queue(AHEAD)
    stopped = threading.Event()

    def put(item: list[Record] | BaseException) -> None:
        while not stopped.is_set():
            with suppress(queue.Full):
                ready.put(item, timeout=0.1)
                return

    def read() -> None:
        wanted = itertools.takewhile(lambda _: not stopped.is_set(), records)
        try:
            while not stopped.is_set():
                put(list(itertools.islice(wanted, count)))
        except BaseException as error:  # noqa: BLE001 - raised where the images are wanted
            put(error)

    thread = threading.Thread(target=read, daemon=True, name="t2ikit stream")

    def stop() -> None:
        stopped.set()
        if thread is not threading.current_thread():  # where its garbage collector closes this
            thread.join(STALLED)

    thread.start()
    atexit.register(stop)
    try:
        while True:
            item = ready.get()
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop()
        atexit.unregister(stop)
