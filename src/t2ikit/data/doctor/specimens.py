"""The images of a dataset that are looked at: all of them, or a random sample where that would take long."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from t2ikit.core.batch import Record
from t2ikit.core.interfaces import Dataset, Split, StreamingDataset
from t2ikit.data.captioned import Captioned, CaptionedImages
from t2ikit.data.doctor.similar import thumbnail
from t2ikit.data.formats.large_folder import LargeFolder
from t2ikit.data.mixing.mixed import Mix
from t2ikit.errors import UserError
from t2ikit.utils.images import from_uint8, to_pil
from t2ikit.utils.quoting import visible

MOST, MOST_MADE = 20_000, 2_000
"""Images that are looked at: of those that are decoded already, and of those made or decoded for this."""
SPLITS: tuple[Split, ...] = ("train", "validation")


@dataclass(frozen=True)
class Specimen:
    """An image that is looked at.

    Attributes:
        split: where it belongs.
        name: of its file, or its key.
        captions: all of them, in every template.
        digest: a hash of its file; "" where there is none.
        image: its record's image again, (C, H, W) uint8.
        content: its file's bytes; None where it is not one.
    """

    split: Split
    name: str
    captions: tuple[str, ...]
    digest: str
    image: Callable[[], Tensor] = field(repr=False)
    content: Callable[[], bytes] | None = field(default=None, repr=False)

    def as_pil(self) -> Image.Image:
        """What training sees."""
        return to_pil(from_uint8(self.image()[None]))[0]


@dataclass(frozen=True)
class Specimens:
    """What is looked at.

    Attributes:
        items: the images, those for training first.
        thumbnails: (N, 3, SIDE, SIDE) float32, levels from 0 to 255.
        scope: which images these are, in words.
        bad: images that could not be read just now, each with the reason.
    """

    items: list[Specimen]
    thumbnails: Tensor
    scope: str
    bad: list[str] = field(default_factory=list)

    def places(self, split: Split) -> list[int]:
        """Where the items of a split are."""
        return [place for place, item in enumerate(self.items) if item.split == split]


def gather(dataset: Dataset) -> Specimens:
    """What is to be looked at of a dataset: of a mix a part of each of its datasets."""
    if isinstance(dataset, StreamingDataset):
        return _of_stream(dataset)
    if not isinstance(dataset, Mix):
        return _of_indexed(dataset)
    found = [_of_indexed(part, len(dataset.parts)) for part in dataset.parts]
    items = [item for one in found for item in one.items]
    scope = "; ".join(f"{name}: {one.scope}" for name, one in zip(dataset.names, found, strict=True))
    thumbnails = torch.cat([one.thumbnails for one in found])
    order = sorted(range(len(items)), key=lambda place: items[place].split != "train")
    bad = [reason for one in found for reason in one.bad]
    return Specimens([items[place] for place in order], thumbnails[order], scope, bad)


def _of_indexed(dataset: Dataset, share: int = 1) -> Specimens:
    """Images by index, at most one in `share` of what would be looked at."""
    sizes = [_size(dataset, split) for split in SPLITS]
    most = (MOST if isinstance(dataset, Captioned) else MOST_MADE) // share
    total = sum(sizes)
    picked = (
        range(total)
        if total <= most
        else np.sort(np.random.default_rng(0).choice(total, most, replace=False)).tolist()
    )
    digests = _digests(dataset)
    items, thumbnails, bad = [], [], []
    for place in picked:
        split: Split = "train" if place < sizes[0] else "validation"
        index = place if split == "train" else place - sizes[0]
        try:
            record = dataset.record(split, index)
        except UserError as error:
            bad.append(f"{error.what}: {error.got}")
            continue
        items.append(_specimen(dataset, split, index, record, digests))
        thumbnails.append(thumbnail(record.image))
    scope = f"all {total:,} images" if total <= most else f"a random {most:,} of {total:,} images"
    return Specimens(items, _stacked(thumbnails), scope, bad)


def _size(dataset: Dataset, split: Split) -> int:
    """Number of images without mirrored copies."""
    return len(dataset.entries[split]) if isinstance(dataset, CaptionedImages) else dataset.size(split)


def _digests(dataset: Dataset) -> dict[str, str]:
    """Hashes of files by name, where they are known."""
    if not isinstance(dataset, Captioned):
        return {}
    names = (entry.name for entry in dataset.source.entries)
    return dict(zip(names, dataset.decoded.digests, strict=True))


def _specimen(
    dataset: Dataset, split: Split, index: int, record: Record, digests: dict[str, str]
) -> Specimen:
    name = visible(record.key)
    return Specimen(
        split,
        name,
        record.captions,
        digests.get(record.key, ""),
        lambda: dataset.record(split, index).image,
        _content(dataset, split, index),
    )


def _content(dataset: Dataset, split: Split, index: int) -> Callable[[], bytes] | None:
    """What reads the file of an image again; None where it has none."""
    if isinstance(dataset, Captioned):
        source, entry = dataset.source, dataset.entries[split][index]
        return lambda: source.read(entry)
    if isinstance(dataset, LargeFolder):
        path = dataset.root / dataset.entries[split][index].place
        return path.read_bytes
    return None


def _of_stream(dataset: StreamingDataset) -> Specimens:
    """The first images of a stream, as training would see them, and those that are held out."""
    records = list(_unrepeated(dataset.records(0, 0, 1, 0), MOST_MADE))
    held_out = (
        dataset.record("validation", index) for index in range(min(dataset.size("validation"), MOST_MADE))
    )
    ended = "all" if len(records) < MOST_MADE else "the first"
    scope = f"{ended} {len(records):,} training images of the stream"
    return _of_records([("train", records), ("validation", list(held_out))], scope)


def _unrepeated(records: Iterator[Record], most: int) -> Iterator[Record]:
    """The first records until one comes again: streams go round without end."""
    seen = set[str]()
    for record in itertools.islice(records, most):
        if record.key in seen:
            return
        seen.add(record.key)
        yield record


def _of_records(parts: Sequence[tuple[Split, list[Record]]], scope: str) -> Specimens:
    """Images that cannot be asked for again."""
    pairs = [(split, record) for split, records in parts for record in records]
    return Specimens(
        [
            Specimen(split, visible(record.key), record.captions, "", _constant(record.image))
            for split, record in pairs
        ],
        _stacked([thumbnail(record.image) for _, record in pairs]),
        scope,
    )


def _constant(image: Tensor) -> Callable[[], Tensor]:
    return lambda: image


def _stacked(thumbnails: list[Tensor]) -> Tensor:
    return torch.stack(thumbnails) if thumbnails else torch.zeros(0, 3, 1, 1)
