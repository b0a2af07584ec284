"""The checks of datasets."""

from __future__ import annotations

import math
from functools import cached_property
from itertools import islice
from typing import Any

import torch

from t2ikit.core.batch import Record
from t2ikit.core.interfaces import Dataset, Split, StreamingDataset
from t2ikit.registry.registry import Registry
from t2ikit.testing.report import Check, Trial, require_all
from t2ikit.testing.support import Subject, require, subject

SPLITS: tuple[Split, ...] = ("train", "validation")
LOOKED_AT = 100
STREAMED = 5


def check_dataset(name: str, registry: Registry | None = None, /, **config: Any) -> None:
    """Check a dataset: images, captions, splits, prompts, and that it repeats.

    At most 100 images of each split are looked at; each is read twice, in two orders, and once more from a
    second dataset that is built alike.

    Args:
        name: of the dataset.
        registry: where it is looked up; None takes the installed plugins.
        **config: its options; `spec` defaults to the name.

    Raises:
        AssertionError: something of the interface does not hold.
    """
    part = subject("datasets", name, registry, {"spec": name, **config})
    require_all(DATASET_CHECKS, DatasetTrial(part))


class DatasetTrial(Trial):
    """A dataset, built twice.

    Args:
        part: the dataset.
    """

    def __init__(self, part: Subject) -> None:
        self.part, self.title = part, part.title

    @cached_property
    def first(self) -> Dataset:
        """The dataset."""
        dataset: Dataset = self.part.build()
        return dataset

    @cached_property
    def second(self) -> Dataset:
        """Another one built alike."""
        dataset: Dataset = self.part.build(seed=7)
        return dataset

    def places(self, split: Split) -> list[int]:
        """The images that are looked at; none of training images that cannot be read by index."""
        if split == "train" and not self.first.indexed_training:
            return []
        size = self.first.size(split)
        return list(range(0, size, math.ceil(size / LOOKED_AT) or 1))

    def label(self, split: Split, index: int) -> str:
        """What an image is called in messages."""
        return f"{self.title}: image {index} of {split}"


def _check_kind(trial: DatasetTrial) -> None:
    require(isinstance(trial.first, Dataset), f"{trial.title} must be a t2ikit.Dataset")


def _check_sizes(trial: DatasetTrial) -> None:
    for split, what in zip(SPLITS, ("train on", "validate with")):
        empty = split == "validation" and trial.part.config.validation == 0
        require(trial.first.size(split) >= 1 or empty, f"{trial.title}: there is nothing to {what}")


def _check_records(trial: DatasetTrial) -> None:
    config = trial.part.config
    shape = (config.image_channels, config.size, config.size)
    for split in SPLITS:
        for index in trial.places(split):
            _check_record(trial.label(split, index), trial.first.record(split, index), shape)


def _check_record(title: str, record: Record, shape: tuple[int, ...]) -> None:
    require(isinstance(record, Record), f"{title} must be a t2ikit.Record")
    image, captions = record.image, record.captions
    require(
        image.dtype == torch.uint8 and tuple(image.shape) == shape,
        f"{title} must be {shape} uint8, is {tuple(image.shape)} {image.dtype}",
    )
    texts = isinstance(captions, tuple) and bool(captions) and all(isinstance(c, str) for c in captions)
    require(texts, f"{title}: captions must be a tuple of at least one text, is {captions!r}")


def _check_repeats(trial: DatasetTrial) -> None:
    for split in SPLITS:
        places = trial.places(split)
        records = {index: trial.first.record(split, index) for index in places}
        images = {index: record.image.clone() for index, record in records.items()}
        for dataset, order in ((trial.first, places[::-1]), (trial.second, places)):
            for index in order:
                again = dataset.record(split, index)
                same = torch.equal(images[index], again.image) and records[index].captions == again.captions
                title = trial.label(split, index)
                require(same and records[index].key == again.key, f"{title} is not the same the second time")

    if isinstance(trial.first, StreamingDataset) and isinstance(trial.second, StreamingDataset):
        streams = [list(islice(one.records(0, 0, 1, 0), STREAMED)) for one in (trial.first, trial.second)]
        for place, (record, again) in enumerate(zip(*streams)):
            same = torch.equal(record.image, again.image) and record.captions == again.captions
            require(same, f"{trial.title}: image {place} of the stream is not the same the second time")


def _check_captions(trial: DatasetTrial) -> None:
    for split in SPLITS:
        for index in trial.places(split):
            agree = tuple(trial.first.captions(split, index)) == trial.first.record(split, index).captions
            require(agree, f"{trial.label(split, index)}: captions() and the record do not agree")


def _check_keys(trial: DatasetTrial) -> None:
    keys: dict[Split, list[str]] = {
        split: [trial.first.record(split, index).key for index in trial.places(split)] for split in SPLITS
    }
    for split, found in keys.items():
        require(len(set(found)) == len(found), f"{trial.title}: two images of {split} have the same key")
    shared = set(keys["train"]) & set(keys["validation"])
    require(not shared, f"{trial.title}: {min(shared, default='')!r} is in both splits")


def _check_prompts(trial: DatasetTrial) -> None:
    prompts = trial.first.prompts(7, seed=1)
    texts = len(prompts) == 7 and all(isinstance(prompt, str) and prompt for prompt in prompts)
    require(texts, f"{trial.title}: prompts(7, seed) must be 7 texts, is {prompts!r}")
    same = list(trial.second.prompts(7, seed=1)) == list(prompts)
    require(same, f"{trial.title}: prompts are not the same the second time")


def _check_fingerprint(trial: Any) -> None:
    first, second = trial.first.fingerprint, trial.second.fingerprint
    require(
        isinstance(first, str) and first == second,
        f"{trial.title}: fingerprint must be text that stays the same",
    )


FINGERPRINT = Check(
    "fingerprint",
    "text that stays the same while nothing changes",
    "hash what decides the content: files, options, a version of the code; not an id or a time",
    _check_fingerprint,
)
DATASET_CHECKS = (
    Check("interface", "a t2ikit.Dataset", "derive it from t2ikit.Dataset", _check_kind, vital=True),
    Check("sizes", "images in both splits", "hold some out for validation", _check_sizes, vital=True),
    Check(
        "records",
        "a t2ikit.Record with an image (C, size, size) uint8 and captions",
        "resize to config.size, and give config.image_channels channels",
        _check_records,
        vital=True,
    ),
    Check(
        "records repeat",
        "record(split, index) is the same every time, in any order",
        "no random augmentation in record; draw random numbers from a generator seeded by the index",
        _check_repeats,
    ),
    Check("captions", "captions(split, index) are the record's", "make both in one place", _check_captions),
    Check("keys", "each image has a key of its own, in one split", "split by key, once", _check_keys),
    Check(
        "prompts",
        "prompts(n, seed) gives n texts, the same for a seed",
        "draw them with random.Random(seed)",
        _check_prompts,
    ),
    FINGERPRINT,
)
"""In the order they are run."""
