"""Shapes and sizes of images, counted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

SHAPES = {
    "1:3 or taller": 1 / 3,
    "1:2": 1 / 2,
    "2:3": 2 / 3,
    "3:4": 3 / 4,
    "square": 1.0,
    "4:3": 4 / 3,
    "3:2": 3 / 2,
    "2:1": 2.0,
    "3:1 or wider": 3.0,
}
"""Width to height; an image counts for the nearest."""
SMALLEST, LARGEST = 5, 11
"""Powers of two between which short sides are told apart."""


@dataclass(frozen=True)
class Histogram:
    """Counts by label, in order, none of them 0 at either end."""

    title: str
    counts: tuple[tuple[str, int], ...]

    def lines(self, width: int, mark: str) -> list[str]:
        """The counts as bars, at most `width` characters a line."""
        labels = max(len(label) for label, _ in self.counts)
        most = max(count for _, count in self.counts)
        room = max(1, width - labels - len(f"{most:,}") - 6)
        return [
            f"  {label:<{labels}}  {mark * math.ceil(room * count / most)} {count:,}"
            for label, count in self.counts
        ]


def histograms(sizes: Sequence[tuple[int, int]]) -> list[Histogram]:
    """Of the width and height of images: their shapes where these differ, and their short sides."""
    if not sizes:
        return []
    shapes = Counter(_shape(width, height) for width, height in sizes)
    powers = Counter(min(LARGEST, max(SMALLEST - 1, min(size).bit_length() - 1)) for size in sizes)
    sides = Histogram("short side, pixels", _between({_side(power): power for power in range(4, 12)}, powers))
    if set(shapes) == {"square"}:
        return [sides]
    return [Histogram("width to height", _between({shape: shape for shape in SHAPES}, shapes)), sides]


def _shape(width: int, height: int) -> str:
    ratio = math.log(width / height)
    return min(SHAPES, key=lambda label: abs(ratio - math.log(SHAPES[label])))


def _side(power: int) -> str:
    if power < SMALLEST:
        return f"below {2**SMALLEST}"
    return f"{2**power} or more" if power == LARGEST else f"{2**power} to {2 ** (power + 1) - 1}"


def _between(keys: dict[str, str] | dict[str, int], counts: Counter) -> tuple[tuple[str, int], ...]:
    """The counts of the labels from the first to the last that has any."""
    rows = [(label, counts[key]) for label, key in keys.items()]
    there = [place for place, (_, count) in enumerate(rows) if count]
    return tuple(rows[there[0] : there[-1] + 1])
