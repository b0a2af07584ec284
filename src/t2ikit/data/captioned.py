"""Captioned images of any source as a dataset: opened once, checked, resized, cached on disk."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from t2ikit.core.batch import Record
from t2ikit.core.interfaces import Dataset, Split
from t2ikit.core.rng import derive_seed
from t2ikit.core.shapes import Shape
from t2ikit.data.captions import WeightedCaptions
from t2ikit.data.configs import PLACE, CaptionedConfig
from t2ikit.data.decoded_cache import DecodedImages, fit_note, how_to_fit, prepare, reading_of
from t2ikit.data.feed.random_crops import RandomCrops, square
from t2ikit.data.problems import UNREADABLE_IMAGE, Problems
from t2ikit.data.source import Entry, Layout, Source
from t2ikit.errors import UserError
from t2ikit.utils.quoting import visible

SALT = "t2ikit folder split 1"
MIRRORED = "#mirrored"
"""Ends the key of a mirrored image."""
_WORD = re.compile(r"\w+")


class CaptionedImages(Dataset, RandomCrops):
    """Entries with captions in two splits, whose images are read as `config` says.

    Attributes:
        config: how its images are read.
        entries: the images of each split, sorted by name.
    """

    config: CaptionedConfig
    entries: Mapping[Split, Sequence[Entry]]

    @property
    def crops_at_random(self) -> bool:
        """Whether training shows another part of an image each time."""
        return self.config.random_crops

    def size(self, split: Split) -> int:
        """Number of images; with `flip` those of training that may be mirrored count twice."""
        return len(self.entries[split]) + (len(self._mirrored) if split == "train" else 0)

    @functools.cached_property
    def _mirrored(self) -> Sequence[int]:
        """Places of the training images that are shown mirrored, too."""
        entries, words = self.entries["train"], {word.lower() for word in self.config.no_flip}
        if not self.config.flip:
            return ()
        kept = [
            place
            for place, entry in enumerate(entries)
            if not any(words & set(_WORD.findall(caption.lower())) for caption in entry.captions)
        ]
        return range(len(entries)) if len(kept) == len(entries) else kept

    def _entry(self, split: Split, index: int) -> tuple[Entry, bool]:
        """The entry of an index, and whether its image is mirrored."""
        if not 0 <= index < self.size(split):
            raise IndexError(f"index {index} of {self.size(split)} {split} images")
        beyond = index - len(self.entries[split])
        place = index if beyond < 0 else self._mirrored[beyond]
        return self.entries[split][place], beyond >= 0

    def record(self, split: Split, index: int) -> Record:
        """Image `index`, (C, size, size) uint8."""
        return self._record(split, index)

    def cropped(self, split: Split, index: int, number: int) -> Record:
        """Image `index`, cropped where `number`, 0 or more, says."""
        return self._record(split, index, number)

    def _record(self, split: Split, index: int, number: int | None = None) -> Record:
        entry, mirrored = self._entry(split, index)
        image, captions = self._image(entry), self._captions(entry)
        if self.crops_at_random:
            image = square(image, number)
        if mirrored:
            return Record(image.flip(-1), captions, entry.name + MIRRORED)
        return Record(image, captions, entry.name)

    @abstractmethod
    def _image(self, entry: Entry) -> Tensor:
        """An entry's image, (C, size, size) uint8; longer where it is to be cropped at random."""

    def captions(self, split: Split, index: int) -> tuple[str, ...]:
        """All captions of image `index`, in every template."""
        return self._captions(self._entry(split, index)[0])

    def _captions(self, entry: Entry) -> tuple[str, ...]:
        templates = self.config.templates
        texts = [template.replace(PLACE, caption) for caption in entry.captions for template in templates]
        if not isinstance(entry.captions, WeightedCaptions):
            return tuple(texts)
        weights = [weight for weight in entry.captions.weights for _ in templates]
        return WeightedCaptions.of(dict(zip(texts, weights, strict=True)))

    def prompts(self, n: int, seed: int) -> list[str]:
        """Captions of the validation split, or of training if that is empty; all once before any repeats."""
        entries = self.entries["validation"] or self.entries["train"]
        captions = dict.fromkeys(c for entry in entries for c in self._captions(entry))
        order = sorted(captions, key=lambda caption: derive_seed(seed, "prompts", caption))
        return [order[i % len(order)] for i in range(n)]


class Captioned(CaptionedImages):
    """The usable images of a source; the others are skipped, counted and reported.

    An image's split depends on its name alone, so adding images moves none. Only a split that would be empty
    takes the image nearest to it. A source whose layout names splits keeps them.

    Args:
        config: how its images are read.
        source: where they come from.
        least: how many images must be usable; None: one for each split that may not be empty.

    Attributes:
        source: what was found, with its problems.
        decoded: the pixels and hashes of all usable images.
        entries: the images of each split, sorted by name.
        warnings: what was skipped, in a few lines; empty if nothing was.

    Raises:
        UserError: too few images are usable (one is enough if none is held out), or the unusable share is
            larger than `max_bad`.
    """

    def __init__(self, config: CaptionedConfig, source: Source, *, least: int | None = None) -> None:
        self.config, self.source = config, source
        self.notes = source.notes
        self.decoded: DecodedImages = prepare(source, config)
        for place in sorted(self.decoded.bad):
            source.problems.add(f"{source.entries[place].name} ({self.decoded.bad[place]})", UNREADABLE_IMAGE)
        usable = [entry for place, entry in enumerate(source.entries) if place not in self.decoded.bad]
        check_usable(source.problems, len(usable), config, least)
        self.entries = self._split(usable)
        self.notes = (*fit_note(self.decoded, how_to_fit(config)), *self.notes)
        self._place = {entry.name: place for place, entry in enumerate(source.entries)}
        self.warnings = warnings_of(source.problems, len(usable))
        self.trained_prompts = not self.entries["validation"]

    def _split(self, usable: list[Entry]) -> dict[Split, list[Entry]]:
        """The usable entries of each split, by the layout's names or else by a hash of the entry's name.

        Raises:
            UserError: a split that the layout names has no usable image.
        """
        layout = self.source.layout
        if layout is None:
            return split(usable, self.config.validation)
        train, held_out = ([e for e in usable if e.split == part] for part in ("train", "validation"))
        if not self.config.validation:
            held_out = []
        self.notes = (*self.notes, layout_note(layout, len(train), len(held_out)))
        wanted = {layout.train: train, **({layout.validation: held_out} if self.config.validation else {})}
        empty = [_empty_split(self.source.label, part) for part, entries in wanted.items() if not entries]
        if empty:
            self.source.problems.raise_all("a split with nothing that can be used", empty)
        return {"train": train, "validation": held_out}

    def _image(self, entry: Entry) -> Tensor:
        return self.decoded.image(self._place[entry.name])

    def shapes(self, split: Split) -> list[Shape] | None:
        """Height and width of each image, where they are in buckets."""
        if self.config.fit != "buckets":
            return None
        indices = range(self.size(split))
        return [self.decoded.shapes[self._place[self._entry(split, index)[0].name]] for index in indices]

    @property
    def fingerprint(self) -> str:
        """Hash of names, captions, contents and how images are read."""
        c = self.config
        size, background, fit, *channels = reading_of(c)
        reading = [size, background, fit, c.validation, c.flip, c.templates, *channels]
        rows = [
            [entry.name, self.decoded.digests[place], *entry.captions, *_weights(entry)]
            for place, entry in enumerate(self.source.entries)
            if place not in self.decoded.bad
        ]
        named = [] if self.source.layout is None else ["named splits"]
        if c.flip and len(self._mirrored) < len(self.entries["train"]):
            named.append(f"mirrored: {len(self._mirrored)}")
        return hashlib.blake2b(json.dumps([reading, rows, *named]).encode(), digest_size=16).hexdigest()


def _weights(entry: Entry) -> list[list[float]]:
    """The weights of an entry's captions where it has any."""
    return [list(entry.captions.weights)] if isinstance(entry.captions, WeightedCaptions) else []


def check_usable(problems: Problems, usable: int, config: CaptionedConfig, least: int | None = None) -> None:
    """Refuse data of which too little can be used.

    Args:
        problems: of what cannot be used.
        usable: number of images that can be.
        config: how large the unusable share may be, and whether images are held out.
        least: how many must be usable; None: one for each split that may not be empty.

    Raises:
        UserError: they are too few, or the unusable share is larger than `max_bad`.
    """
    if len(problems) > config.max_bad * (len(problems) + usable):
        problems.raise_all(
            f"{len(problems)} problems beside {usable} images that can be used, more than the share "
            f"data.max_bad={config.max_bad:g} allows"
        )
    if usable < (least or (2 if config.validation else 1)):
        too_few = _too_few(problems.label, usable)
        more = [too_few] if usable or not problems else []
        problems.raise_all(f"{usable} image(s) that can be used, and these problems", more)


def warnings_of(problems: Problems, usable: int) -> tuple[str, ...]:
    """What was skipped, in a few lines; empty if nothing was."""
    if not problems:
        return ()
    return (f"{problems.label}: {len(problems)} skipped, {usable} images used\n{problems.summary()}",)


def split(entries: Sequence[Entry], validation: float) -> dict[Split, list[Entry]]:
    """Split entries by a hash of their groups or names; about the fraction `validation` is held out.

    Args:
        entries: at least one. A single one is for training, and so is a single group.
        validation: fraction in [0, 1); 0: none is held out, else at least one of several.
    """
    mask = held_out((entry.group or entry.name for entry in entries), len(entries), validation)
    parts: dict[Split, list[Entry]] = {"train": [], "validation": []}
    for entry, out in zip(entries, mask.tolist(), strict=True):
        parts["validation" if out else "train"].append(entry)
    return parts


def held_out(names: Iterable[str], count: int, validation: float) -> NDArray[np.bool_]:
    """Which of `count` names are held out, by a hash of each.

    Args:
        names: of images, or of their groups, each of which is held out as a whole.
        count: how many.
        validation: as for `split`.
    """
    if validation == 0 or count < 2:
        return np.zeros(count, dtype=bool)
    position = np.fromiter((derive_seed(SALT, name) / 2**63 for name in names), np.float64, count)
    different = np.unique(position)
    if len(different) == 1:
        return np.zeros(count, dtype=bool)
    return position <= min(max(validation, different[0]), different[-2])


def layout_note(layout: Layout, train: int, validation: int) -> str:
    """One line on which parts of a source are its splits."""
    note = f"splits: {train:,} images of {layout.train} to train on, "
    if validation:
        note += f"{validation:,} of {layout.validation} to validate on"
    else:
        note += f"none to validate on ({layout.validation} is left out)"
    rest = [name if count is None else f"{name} ({count:,})" for name, count in sorted(layout.unused.items())]
    return visible(note + (f"; not used: {', '.join(rest)}" if rest else ""))


def _empty_split(label: str, part: str) -> UserError:
    return UserError(
        f"{label}: no captioned image of {part} can be used",
        expected=f"captioned images in {part}, which is named as one of the splits",
        got="none",
        fix="mend what is in it, or mix all images with --set data.splits=false",
    )


def _too_few(label: str, count: int) -> UserError:
    return UserError(
        f"{label}: too few captioned images",
        expected="at least 2, one to train on and one to validate on",
        got=count,
        fix="train on that one alone, with none held out: --set data.validation=0"
        if count
        else "add images with captions",
    )
