"""Wrong captions that are nearly right: one word is another, or two words have changed places.

Whoever tells such a caption from the right one has read every word. Source: the hard negatives of image-text
models, arXiv 2210.01936 (section 4), here for any language that separates words: without lists of colours or
nouns, by which words stand beside each other in the captions.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise

from t2ikit.core.rng import derive_seed

KNOWN_IMAGES = 4096
"""So many images, evenly spaced, are asked for their captions."""
_TOKEN = re.compile(r"\w+|[^\w\s]")
_WHOLE = 1 << 63


class HardNegatives:
    """Wrong captions for a share of the samples, the same for the same seed and key.

    Args:
        share: of the samples, in [0, 1].
        seed: of the run.
        captions: from which is learned what can be changed.
    """

    def __init__(self, share: float, seed: int, captions: Iterable[str]) -> None:
        self.share, self.seed = share, seed
        self.changes = CaptionChanges(captions if share else ())

    def wrong(self, caption: str, key: int, right: Sequence[str]) -> tuple[str, bool] | None:
        """A change of the caption of sample `key`, and whether it is none of the `right` ones.

        None: it is not the sample's turn, or nothing can be changed. One word is replaced or two are swapped,
        each half of the time where both can be done.
        """
        if not self.share or derive_seed(self.seed, "hard negative", key) >= self.share * _WHOLE:
            return None
        number, coin = divmod(derive_seed(self.seed, "changed words", key), 2)
        swaps = self.changes.swaps(caption)
        swap = swaps[number % len(swaps)] if swaps else None
        changed = (coin and swap) or self.changes.replacement(caption, number) or swap
        return (changed, changed not in right) if changed else None


def known_captions(count: int, captions_of: Callable[[int], Iterable[str]]) -> Iterator[str]:
    """The captions of `KNOWN_IMAGES` out of `count` images, evenly spaced; of all where there are no more."""
    for index in range(0, count, max(1, -(-count // KNOWN_IMAGES))):
        yield from captions_of(index)


class CaptionChanges:
    """What can be changed in a caption so that it still reads like one.

    That is so where every pair of neighbours that a change makes stands in some caption: "a red and blue cat"
    becomes "a blue and red cat" or "a red and blue bird", but never "a blue red and cat". Neighbours do not
    change places with each other: of two adjectives the order rarely says anything.

    Args:
        captions: the known ones.
    """

    def __init__(self, captions: Iterable[str]) -> None:
        self._after: dict[str, set[str]] = defaultdict(set)
        self._before: dict[str, set[str]] = defaultdict(set)
        for caption in dict.fromkeys(captions):
            for left, right in pairwise(["", *_TOKEN.findall(caption), ""]):
                self._after[left].add(right)
                self._before[right].add(left)

    def swaps(self, caption: str) -> list[str]:
        """The caption with two of its words in each other's place, in every way there is."""
        tokens = _read(caption)
        return [
            caption[: a.start()] + b[0] + caption[a.end() : b.start()] + a[0] + caption[b.end() :]
            for i, (before_a, a, after_a) in enumerate(tokens)
            for before_b, b, after_b in tokens[i + 2 :]
            if a[0] != b[0] and self._fits(before_a, b[0], after_a) and self._fits(before_b, a[0], after_b)
        ]

    def replacement(self, caption: str, number: int) -> str | None:
        """The caption with one word that others say in its place, the `number`th; None: there is none."""
        places = [
            (token, others)
            for before, token, after in _read(caption)
            if (others := self._between(before, after) - {token[0]})
        ]
        if not places:
            return None
        number, place = divmod(number, len(places))
        token, others = places[place]
        return caption[: token.start()] + sorted(others)[number % len(others)] + caption[token.end() :]

    def _fits(self, before: str, word: str, after: str) -> bool:
        return word in self._after.get(before, ()) and word in self._before.get(after, ())

    def _between(self, before: str, after: str) -> set[str]:
        """The words that stand between these two."""
        both = self._after.get(before, set()) & self._before.get(after, set())
        return {token for token in both if _is_word(token)}


def _read(caption: str) -> list[tuple[str, re.Match[str], str]]:
    """The words of a caption, each between its neighbours; beside the first and the last is an empty one."""
    found = list(_TOKEN.finditer(caption))
    texts = ["", *(match[0] for match in found), ""]
    return [(texts[i], match, texts[i + 2]) for i, match in enumerate(found) if _is_word(match[0])]


def _is_word(token: str) -> bool:
    return token[:1] == "_" or token[:1].isalnum()
