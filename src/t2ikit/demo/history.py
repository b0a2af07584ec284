"""What each visitor has sampled, the newest first, within a fixed amount of memory."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

from t2ikit.demo import view
from t2ikit.demo.asked import Asked
from t2ikit.demo.job import Job
from t2ikit.utils.grids import fit
from t2ikit.utils.images import to_pil
from t2ikit.utils.quoting import shortened

MOST = 12
"""Entries of a visitor."""
BYTES = 64 * 2**20
"""Of all visitors; the oldest entries go."""
THUMB = 96
"""Most pixels of a side."""


@dataclass(frozen=True)
class Past:
    """One request that is done.

    Attributes:
        labels: of its models.
        asked: with what controls.
        shown: HTML of its images.
        button: HTML by which it is chosen again.
    """

    labels: tuple[str, ...]
    asked: Asked
    shown: str
    button: str


class History:
    """Past requests by visitor and number; several threads may use it.

    Args:
        most: bytes of all.
    """

    def __init__(self, most: int = BYTES) -> None:
        self.most, self._size = most, 0
        self._entries: OrderedDict[tuple[str, int], Past] = OrderedDict()
        self._numbers = itertools.count(1)
        self._lock = Lock()

    def add(self, visitor: str, job: Job) -> None:
        """Keep what a request has made, and drop what is too much."""
        number = next(self._numbers)
        labels = tuple(part.model.label for part in job.parts)
        past = Past(labels, job.asked, view.stage(job), _button(number, job))
        with self._lock:
            self._entries[visitor, number] = past
            self._size += _size(past)
            own = [key for key in self._entries if key[0] == visitor]
            for key in own[:-MOST]:
                self._drop(key)
            while self._size > self.most:
                self._drop(next(iter(self._entries)))

    def of(self, visitor: str) -> str:
        """A visitor's entries as HTML."""
        with self._lock:
            own = [past.button for (who, _), past in self._entries.items() if who == visitor]
        return f'<div class="t2i-history">{"".join(reversed(own))}</div>' if own else ""

    def find(self, visitor: str, number: int) -> Past | None:
        """An entry; None: there is none, or no longer."""
        with self._lock:
            return self._entries.get((visitor, number))

    def forget(self, visitor: str) -> None:
        """Drop a visitor's entries."""
        with self._lock:
            for key in [key for key in self._entries if key[0] == visitor]:
                self._drop(key)

    def _drop(self, key: tuple[str, int]) -> None:
        self._size -= _size(self._entries.pop(key))


def _size(past: Past) -> int:
    return len(past.shown) + len(past.button)


def _button(number: int, job: Job) -> str:
    samples = next(part.samples for part in job.parts if part.samples is not None)
    image = fit(to_pil(samples.images[0, 0, :1])[0], THUMB)
    words = f"{shortened(', '.join(job.asked.prompts), 60)} (seed {job.asked.seed})"
    _, tag = view.image_tag(image, view.text(words))
    return f'<button type="button" data-number="{number}" title="{view.text(words)}">{tag}</button>'
