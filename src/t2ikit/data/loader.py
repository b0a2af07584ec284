"""From a dataset to the batches of each step: a pure function of (seed, step, rank).

Nothing is remembered from step to step, so that a resumed run, another number of processes or another
micro-batch sees the same samples with the same randomness.
"""

from __future__ import annotations

import functools
import multiprocessing
import signal
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from t2ikit.core.batch import Batch, Condition, Record
from t2ikit.core.interfaces import Dataset, Split, TextEncoder
from t2ikit.core.rng import derive_seed
from t2ikit.core.super_resolution import SuperResolution, shrink
from t2ikit.errors import UserError
from t2ikit.utils.images import from_uint8

CACHE_BYTES = 1 << 29


@dataclass(frozen=True)
class LocalBatch:
    """One process's share of a step's samples, before the text is encoded.

    Attributes:
        images: (B, 3, H, W) uint8.
        captions, wrong: B strings each.
        mismatch_mask: (B,) float.
        all_captions, caption_index, keys: as in `Batch`; the indices are neighbours.
        ratio: of super-resolution; 0: none.
    """

    images: Tensor
    captions: tuple[str, ...]
    wrong: tuple[str, ...]
    mismatch_mask: Tensor
    all_captions: tuple[str, ...]
    caption_index: Tensor
    keys: Tensor
    ratio: int = 0

    def batch(self, encoder: TextEncoder, device: torch.device | str) -> Batch:
        """Encode the captions and move everything to `device`."""
        text = encoder.encode([*self.all_captions, *self.wrong, ""])
        pool, wrong, empty = text[: len(self.all_captions)], text[len(self.all_captions) : -1], text[-1:]
        first = int(self.caption_index[0])
        images = from_uint8(self.images.to(device))
        low_res = shrink(images, self.ratio) if self.ratio else None
        condition = Condition(self.captions, pool[first : first + len(self.captions)], empty, low_res)
        batch = Batch(
            images,
            condition,
            wrong,
            self.mismatch_mask,
            self.all_captions,
            pool,
            self.caption_index,
            self.keys,
        )
        return batch.to(device)


class BatchLoader(TorchDataset[LocalBatch]):
    """Item `step` is one process's share of that step.

    Args:
        dataset: where the images come from.
        seed: of the run.
        batch: images a step over all processes.
        rank, world: which process this is, of how many; `world` divides `batch`.
        cache_bytes: room for images kept in memory.
        split: "train" is visited in a new random order every epoch, "validation" in its own order
            with captions that stay the same.
        upscales: how a super-resolution model is trained; None: it is none.
        whole: give whole images to a super-resolution model, not pieces.
    """

    def __init__(
        self,
        dataset: Dataset,
        seed: int,
        batch: int,
        rank: int = 0,
        world: int = 1,
        *,
        cache_bytes: int = CACHE_BYTES,
        split: Split = "train",
        super_resolution: SuperResolution | None = None,
        whole: bool = False,
    ) -> None:
        self.dataset, self.seed, self.batch, self.split = dataset, seed, batch, split
        self.rank, self.local_batch_size = rank, batch // world
        self.count = dataset.size(split)
        self._images: dict[int, Record] = {}
        self._room = cache_bytes
        self.ratio = super_resolution.ratio if super_resolution else 0
        self.pieces = None if whole else super_resolution

    def __getitem__(self, step: int) -> LocalBatch:
        numbers = range(step * self.batch, (step + 1) * self.batch)
        pool = tuple(self._caption(self._index(n), n) for n in numbers)
        first = self.rank * self.local_batch_size
        own = range(first, first + self.local_batch_size)
        mine = [numbers[i] for i in own]
        wrong = [self._wrong(n) for n in mine]
        return LocalBatch(
            images=torch.stack([self._image(n) for n in mine]),
            captions=tuple(pool[i] for i in own),
            wrong=tuple(caption for caption, _ in wrong),
            mismatch_mask=torch.tensor([float(ok) for _, ok in wrong]),
            all_captions=pool,
            caption_index=torch.tensor(list(own)),
            keys=torch.tensor(mine),
            ratio=self.ratio,
        )

    def _image(self, number: int) -> Tensor:
        image = self._record(self._index(number)).image
        return image if self.pieces is None else self.pieces.piece(image, self.seed, number)

    def _index(self, number: int) -> int:
        epoch, place = divmod(number, self.count)
        if self.split == "validation":
            return place
        return int(_order(self.seed, epoch, self.count)[place])

    def _caption(self, index: int, number: int) -> str:
        captions = self.dataset.captions(self.split, index)
        return captions[derive_seed(self.seed, "caption", number) % len(captions)]

    def _wrong(self, number: int) -> tuple[str, bool]:
        """A caption drawn from the whole split, and whether it is wrong for this sample's image."""
        index = self._index(number)
        other = derive_seed(self.seed, "wrong index", number) % self.count
        captions = self.dataset.captions(self.split, other)
        caption = captions[derive_seed(self.seed, "wrong caption", number) % len(captions)]
        return caption, other != index and caption not in self.dataset.captions(self.split, index)

    def _record(self, index: int) -> Record:
        """Record `index`, kept in memory while there is room: most sets are small."""
        record = self._images.get(index)
        if record is None:
            record = self.dataset.record(self.split, index)
            size = record.image.numel()
            if size <= self._room:
                self._room -= size
                self._images[index] = record
        return record


@functools.lru_cache(maxsize=2)
def _order(seed: int, epoch: int, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(derive_seed(seed, "order", epoch))
    return torch.randperm(count, generator=generator)


class _Guarded(TorchDataset[Any]):
    """Gives a user's mistake as an item: torch would turn one raised in a worker into a traceback."""

    def __init__(self, batches: BatchLoader) -> None:
        self.batches = batches

    def __getitem__(self, step: int) -> LocalBatch | UserError:
        try:
            return self.batches[step]
        except UserError as error:
            return error


def _as_is(item: Any) -> Any:
    return item


def _leave_signals_to_the_main_process(worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def stream(batches: BatchLoader, steps: Iterable[int], workers: int) -> Generator[LocalBatch, None, None]:
    """The batches of `steps` in order, prepared by `workers` processes (0: this one).

    Raises:
        UserError: an image cannot be read.
    """
    forks = workers and "fork" in multiprocessing.get_all_start_methods()
    loader = DataLoader(
        _Guarded(batches),
        batch_size=None,
        sampler=steps,
        num_workers=workers,
        collate_fn=_as_is,
        worker_init_fn=_leave_signals_to_the_main_process if workers else None,
        # A forked worker knows the classes of plugin files, which another process could not import.
        multiprocessing_context="fork" if forks else None,
    )
    for item in loader:
        if isinstance(item, UserError):
            raise item
        yield item
