"""Datasets that are read by index as one: an epoch shows each image of each at least once, by the weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from t2ikit.core.batch import Record
from t2ikit.core.interfaces import Dataset, Split
from t2ikit.data.feed.random_crops import RandomCrops, training_record


class Mix(Dataset, RandomCrops):
    """What all mixes have in common: held-out images, prompts and the fingerprint.

    Held-out images alternate by the weights, so that the first few are of all parts; each part keeps its own
    split.

    Args:
        parts: the datasets.
        weights: how often each is shown.
        given: whether the weights were asked for.
        names: of the parts, for notes.

    Attributes:
        shares: the weights, which sum up to 1.
    """

    def __init__(
        self, parts: Sequence[Dataset], weights: Sequence[float], names: Sequence[str], *, given: bool
    ) -> None:
        self.parts, self.names = list(parts), list(names)
        self.shares = np.array(weights, dtype=np.float64) / np.sum(weights)
        self.warnings = tuple(warning for part in parts for warning in part.warnings)
        self.trained_prompts = any(part.trained_prompts for part in parts)
        self._weights = [float(weight) for weight in weights] if given else None
        sizes = [part.size("validation") for part in parts]
        turn = np.concatenate(
            [(np.arange(n) + 0.5) / share for n, share in zip(sizes, self.shares, strict=True)]
        )
        part = np.repeat(np.arange(len(parts)), sizes)
        index = np.concatenate([np.arange(n) for n in sizes])
        order = np.argsort(turn, kind="stable")
        self._held_out = part[order], index[order]
        shares = ", ".join(f"{name} {share:.1%}" for name, share in zip(names, self.shares, strict=True))
        self.notes = (
            *(note for part in parts for note in part.notes),
            f"mixed: {shares} of the images shown",
        )

    def size(self, split: Split) -> int:
        """Number of held-out images of all parts."""
        return len(self._held_out[0])

    def _find(self, split: Split, index: int) -> tuple[int, int]:
        """The number of a part, and an index in it."""
        if not 0 <= index < self.size(split):
            raise IndexError(f"index {index} of {self.size(split)} {split} images")
        return int(self._held_out[0][index]), int(self._held_out[1][index])

    def record(self, split: Split, index: int) -> Record:
        """Image `index`; its key begins with the number of its part."""
        number, inner = self._find(split, index)
        return of_part(number, self.parts[number].record(split, inner))

    @property
    def crops_at_random(self) -> bool:
        """Whether a part does."""
        return any(isinstance(part, RandomCrops) and part.crops_at_random for part in self.parts)

    def cropped(self, split: Split, index: int, number: int) -> Record:
        """Image `index`, cropped where `number` says if its part crops at random."""
        part, inner = self._find(split, index)
        return of_part(part, training_record(self.parts[part], split, inner, number))

    def captions(self, split: Split, index: int) -> tuple[str, ...]:
        """The captions of image `index`."""
        number, inner = self._find(split, index)
        return self.parts[number].captions(split, inner)

    def shapes(self, split: Split) -> list[tuple[int, int]] | None:
        """Of each image, where a part's images differ in them."""
        of_parts = [part.shapes(split) for part in self.parts]
        if all(shapes is None for shapes in of_parts):
            return None
        squares: dict[int, tuple[int, int]] = {}
        found = []
        for index in range(self.size(split)):
            number, inner = self._find(split, index)
            own = of_parts[number]
            if own is None and number not in squares:
                height, width = self.parts[number].record(split, inner).image.shape[-2:]
                squares[number] = height, width
            found.append(squares[number] if own is None else own[inner])
        return found

    def prompts(self, n: int, seed: int) -> list[str]:
        """Prompts of all parts, which alternate by the weights."""
        taken = np.zeros(len(self.parts), dtype=int)
        order = []
        for count in range(n):
            number = int(np.argmax(self.shares * (count + 1) - taken))
            order.append((number, int(taken[number])))
            taken[number] += 1
        found = [part.prompts(int(count), seed) for part, count in zip(self.parts, taken, strict=True)]
        return [found[number][place] for number, place in order]

    def images(self, captions: Sequence[str], seed: int) -> list[Tensor] | None:
        """A real image of each caption, from the first part that has one."""
        found: dict[str, Tensor] = {}
        for part in self.parts:
            left = [caption for caption in dict.fromkeys(captions) if caption not in found]
            known = [caption for caption in left if caption in _captions_in(part, left)]
            found |= dict(zip(known, part.images(known, seed) or (), strict=False))
        for caption in set(captions) - found.keys():  # which no image has, but a part may draw
            drawn = (part.images([caption], seed) for part in self.parts)
            one = next((images for images in drawn if images is not None), None)
            if one is None:
                return None
            found[caption] = one[0]
        return [found[caption] for caption in captions]

    @property
    def fingerprint(self) -> str:
        """Hash of the parts' fingerprints and the weights."""
        content = json.dumps(["mix 1", [part.fingerprint for part in self.parts], self._weights])
        return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()


class Mixed(Mix):
    """Datasets that are read by index, as one that is.

    An epoch has as many images as it takes to show each at least once: of a part that the weights ask more
    of, images repeat, each as often as any other of that part, give or take one.

    Args:
        parts, names: the datasets and their names.
        weights: how often each is shown; None: as often as it has images.
    """

    def __init__(
        self, parts: Sequence[Dataset], weights: Sequence[float] | None, names: Sequence[str]
    ) -> None:
        self._sizes = [part.size("train") for part in parts]
        super().__init__(parts, weights or self._sizes, names, given=weights is not None)
        epoch = max(size / share for size, share in zip(self._sizes, self.shares, strict=True))
        shown = np.maximum(np.rint(self.shares * epoch).astype(np.int64), self._sizes)
        self._starts = np.concatenate([[0], np.cumsum(shown)])

    def size(self, split: Split) -> int:
        """Number of held-out images, or of the images of an epoch."""
        return int(self._starts[-1]) if split == "train" else super().size(split)

    def _find(self, split: Split, index: int) -> tuple[int, int]:
        if split != "train" or not 0 <= index < self.size("train"):
            return super()._find(split, index)
        number = int(np.searchsorted(self._starts, index, "right")) - 1
        return number, int(index - self._starts[number]) % self._sizes[number]


def of_part(number: int, record: Record) -> Record:
    """A record of part `number`, by a key that no other part has."""
    return Record(record.image, record.captions, f"{number}/{record.key}")


def _captions_in(part: Dataset, captions: Sequence[str]) -> set[str]:
    """Which of the captions images of a part have."""
    wanted, found = set(captions), set[str]()
    splits: tuple[Split, ...] = ("validation", "train") if part.indexed_training else ("validation",)
    for split in splits:
        for index in range(part.size(split)):
            found |= wanted.intersection(part.captions(split, index))
            if len(found) == len(wanted):
                return found
    return found
