"""What each visitor has sampled, the newest first, within a fixed amount of memory."""

from __future__ import annotations

import itertools
import sys
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
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
        self._under_way: dict[int, str] = {}
        self._numbers = itertools.count(1)
        self._lock = Lock()

    @contextmanager
    def request(self, visitor: str) -> Iterator[int]:
        """The number of a request while it is under way; `add` takes it."""
        number = next(self._numbers)
        with self._lock:
            self._under_way[number] = visitor
        try:
            yield number
        finally:
            with self._lock:
                self._under_way.pop(number, None)

    def add(self, number: int, job: Job, shown: str) -> None:
        """Keep what a request has made, unless its visitor has been forgotten, and drop what is too much.

        Args:
            number: of the request.
            job: that is done.
            shown: HTML of its images.
        """
        labels = tuple(part.model.label for part in job.parts)
        past = Past(labels, job.asked, _ascii(shown), _ascii(_button(number, job)))
        with self._lock:
            visitor = self._under_way.pop(number, None)
            if visitor is None:
                return
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
        """Drop a visitor's entries, those of requests that are under way as well."""
        with self._lock:
            for number in [number for number, who in self._under_way.items() if who == visitor]:
                del self._under_way[number]
            for key in [key for key in self._entries if key[0] == visitor]:
                self._drop(key)

    def _drop(self, key: tuple[str, int]) -> None:
        self._size -= _size(self._entries.pop(key))


def _size(past: Past) -> int:
    """Bytes of memory."""
    return sum(map(sys.getsizeof, (past.shown, past.button, past.asked.negative, *past.asked.prompts)))


def _ascii(html: str) -> str:
    """HTML with a byte for each character: with one emoji in it, a text takes four."""
    return html.encode("ascii", "xmlcharrefreplace").decode()


def _button(number: int, job: Job) -> str:
    samples = next(part.samples for part in job.parts if part.samples is not None)
    image = fit(to_pil(samples.images[0, 0, :1])[0], THUMB)
    words = f"{shortened(', '.join(job.asked.prompts), 60)} (seed {job.asked.seed})"
    _, tag = view.image_tag(image, view.text(words))
    return f'<button type="button" data-number="{number}" title="{view.text(words)}">{tag}</button>'
