"""Tar shards as a stream: a few are open at once, and only the resized images are kept.

The order is a pure function of (seed, epoch, process): an epoch deals the shards out to the processes, and
each process opens its shards in groups and shuffles the samples of a group. A resumed run therefore finds its
place by counting, and sees the samples it would have seen.
"""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
import tempfile
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from t2ikit.core.batch import Record
from t2ikit.core.interfaces import Dataset, Split, StreamingDataset
from t2ikit.core.rng import derive_seed
from t2ikit.data.captioned import Captioned
from t2ikit.data.configs import HubConfig, ShardsConfig
from t2ikit.data.decoded_cache import refuse_buckets, unseen_note
from t2ikit.data.feed.random_crops import training_record
from t2ikit.data.formats.shards import ShardSource, existing_shards, expand, is_remote
from t2ikit.data.streams.fetching import Unreachable, download
from t2ikit.errors import T2ikitWarning, UserError
from t2ikit.utils.extras import import_extra
from t2ikit.utils.quoting import one_line

GROUP = 4
"""Shards whose samples are shuffled together."""


def open_shards(config: ShardsConfig) -> Dataset:
    """The dataset that a shards config describes: indexed as a whole, or as a stream.

    Raises:
        UserError: a shard is missing, or they have too few usable images.
    """
    pattern = config.spec.removeprefix("wds:")
    stream = any(map(is_remote, expand(pattern))) if config.stream is None else config.stream
    if stream:
        return ShardStream(config)
    return Captioned(config, ShardSource(pattern, existing_shards(pattern), config.caption_column))


class StreamedFiles(StreamingDataset):
    """The samples of files that are too many to be looked at before training.

    A subclass calls `begin` in its constructor.

    Attributes:
        label: for messages.
        config: how images are read.
        urls: of the files.
        first: whose images are held out.
    """

    label: str
    config: ShardsConfig | HubConfig
    urls: list[str]
    first: Captioned

    def begin(self, held_out: Captioned | None = None) -> None:
        """Open what is held out.

        Args:
            held_out: of which all images are, as its own "train" split; None: a part of the first file,
                chosen by a hash of the names (none with data.validation=0).
        """
        refuse_buckets(self.config, self.label, "a stream's batches are of whatever comes next, in one shape")
        self.notes = (*self.notes, *unseen_note(self.config))
        self.skipped: set[int] = set()
        self.first = self._open(0) if held_out is None else held_out
        self._held_out: Split = "validation" if held_out is None else "train"
        self.warnings = self.first.warnings
        self.trained_prompts = held_out is None and self.first.trained_prompts

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_open"}

    @functools.cached_property
    def _open(self) -> Callable[[int], Captioned]:
        return functools.lru_cache(maxsize=2 * GROUP)(self.prepare)

    @abstractmethod
    def prepare(self, number: int) -> Captioned:
        """One file's usable samples, resized and cached, so that the next epoch decodes nothing."""

    def _samples(self, number: int) -> list[tuple[int, Split, int]]:
        """A shard's training samples; empty if none is usable."""
        partly = number == 0 and self._held_out == "validation"
        splits: tuple[Split, ...] = ("train",) if partly else ("train", "validation")
        try:
            shard = self._open(number)
        except Unreachable:
            raise  # another try may succeed: a run that skipped it would not be resumed as the same
        except UserError as error:
            if number not in self.skipped:
                skipped = f"{self.urls[number]}: this shard is skipped: {error}"
                warnings.warn(skipped, T2ikitWarning, stacklevel=2)
            self.skipped.add(number)
            if len(self.skipped) > self.config.max_bad * len(self.urls):
                raise
            return []
        return [(number, split, i) for split in splits for i in range(shard.size(split))]

    def size(self, split: Split) -> int:
        """Number of validation images; that of training images is not known.

        Raises:
            UserError: the split is "train".
        """
        if split == "train":
            raise UserError(
                f"{self.label}: the number of training images of a stream is not known",
                expected="a dataset that was looked at whole",
                got="data.stream=true",
                fix="leave data.stream out where the shards are on this machine",
            )
        return self.first.size(self._held_out)

    def record(self, split: Split, index: int) -> Record:
        """Validation image `index`."""
        self.size(split)
        return self.first.record(self._held_out, index)

    def captions(self, split: Split, index: int) -> tuple[str, ...]:
        """The captions of validation image `index`."""
        self.size(split)
        return self.first.captions(self._held_out, index)

    def prompts(self, n: int, seed: int) -> list[str]:
        """Captions of the validation split, or of the first shard if that is empty."""
        return self.first.prompts(n, seed)

    def images(self, captions: Sequence[str], seed: int) -> list[Tensor] | None:
        """Real images of captions, from the first shard."""
        return self.first.images(captions, seed)

    @property
    def fingerprint(self) -> str:
        """Hash of the files' names, the content of what is held out and how images are read."""
        names = json.dumps([self.urls, self.first.fingerprint])
        return hashlib.blake2b(names.encode(), digest_size=16).hexdigest()

    def records(self, seed: int, rank: int, world: int, start: int) -> Iterator[Record]:
        """One process's samples from number `start` on, without end.

        Raises:
            UserError: there are fewer shards than processes.
        """
        if len(self.urls) < world:
            raise UserError(
                f"{self.label}: fewer shards than processes",
                expected=f"at least {world} shards, one a process",
                got=len(self.urls),
                fix="write smaller shards, or start fewer processes",
            )
        epoch, left = 0, start
        while True:
            for group in self._groups(seed, epoch, rank, world):
                samples = [sample for number in group for sample in self._samples(number)]
                if left < len(samples):
                    generator = torch.Generator().manual_seed(derive_seed(seed, "group", epoch, *group))
                    order = torch.randperm(len(samples), generator=generator)[left:].tolist()
                    for place in order:
                        number, split, i = samples[place]
                        crop = derive_seed(seed, "data crop", epoch, number, split, i)
                        record = training_record(self._open(number), split, i, crop)
                        yield Record(record.image, record.captions, f"{number}/{record.key}")
                left = max(0, left - len(samples))
            epoch += 1

    def _groups(self, seed: int, epoch: int, rank: int, world: int) -> list[list[int]]:
        """The shards of one process in one epoch, in groups."""
        generator = torch.Generator().manual_seed(derive_seed(seed, "shards", epoch))
        mine = torch.randperm(len(self.urls), generator=generator).tolist()[rank::world]
        return [mine[at : at + GROUP] for at in range(0, len(mine), GROUP)]


class ShardStream(StreamedFiles):
    """The samples of tar shards.

    Args:
        config: the pattern, and how images are read.

    Raises:
        UserError: a local shard is missing, or the first has no usable image.
    """

    config: ShardsConfig

    def __init__(self, config: ShardsConfig) -> None:
        self.config = config
        self.pattern = config.spec.removeprefix("wds:")
        self.label = f"wds:{self.pattern}"
        self.urls = expand(self.pattern)
        if not any(map(is_remote, self.urls)):
            existing_shards(self.pattern)
        self.begin()

    def prepare(self, number: int) -> Captioned:
        """One shard's usable samples."""
        url, column = self.urls[number], self.config.caption_column
        least = 1 if number else None  # nothing is held out of the later shards
        if not is_remote(url):
            path = Path(url)
            return Captioned(self.config, ShardSource(path.name, [path], column), least=least)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"shard-{number:06d}.tar"
            fetch(url, path)
            return Captioned(self.config, ShardSource(url, [path], column, origin=url), least=least)


def fetch(url: str, path: Path) -> None:
    """Download a remote shard to a file.

    Raises:
        UserError: it cannot be fetched.
    """
    if url.startswith(("http://", "https://")):
        download(url, path)
        return
    gopen = import_extra("webdataset.gopen", "webdataset", f"wds:{url}")
    try:
        with gopen.gopen(url, "rb") as source, path.open("wb") as target:
            shutil.copyfileobj(source, target)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"wds:{url}: this shard cannot be fetched",
            expected="a tar file there",
            got=one_line(error, 160),
            fix="check the address; each scheme needs the program that webdataset calls for it",
        ) from error
