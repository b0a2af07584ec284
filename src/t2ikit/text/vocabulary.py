"""The words that a run was trained on, and notes on prompts.

Words are counted during training and kept in checkpoints, so that `sample` can name words that the run never
saw. There are no counts if the encoder has subwords, or if the run began before words were counted.
"""

from __future__ import annotations

import difflib
import json
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from t2ikit.core.interfaces import TextEncoder
from t2ikit.errors import T2ikitWarning
from t2ikit.utils.files import write_json
from t2ikit.utils.quoting import quoted

FILE = "words.json"
"""The file of the counts in an export."""
KEY = "words"
"""The key of the counts in a checkpoint's state."""
MOST = 65_536
"""Number of words that are kept, the most frequent."""
PRUNED_EVERY = 1000
"""Steps between two prunings of rare words: a resumed run prunes at the same steps."""
WAITING = 100_000
"""Most distinct captions that wait to be split into words."""
NAMED = 6
"""Unknown words that a message names; the others are counted."""
ENDING = 40
"""Characters shown of the end of what is read of a prompt."""
CLOSE = 0.8
"""Least similarity (of `difflib`) of a known word that may be meant."""


class Vocabulary:
    """Counts how many of the training captions contain each word.

    During training captions are only counted; they are split into words when the counts are needed.

    Args:
        encoder: splits captions into words; nothing is counted if it cannot.
        before: the counts of the run whose weights this one begins with.
    """

    def __init__(self, encoder: TextEncoder, before: Mapping[str, int] | None = None) -> None:
        self._encoder = encoder
        self._counts: Counter[str] | None = None if encoder.words("") is None else Counter(before or {})
        self._captions: Counter[str] = Counter()

    def see(self, captions: Sequence[str], step: int) -> None:
        """Count the captions of a step, over all processes."""
        if self._counts is None:
            return
        self._captions.update(captions)
        prunes = (step + 1) % PRUNED_EVERY == 0
        if prunes or len(self._captions) > WAITING:
            self._split_captions()
        if prunes:
            self._counts = Counter(most_frequent(self._counts))

    @property
    def words(self) -> dict[str, int] | None:
        """The counts by word, sorted; None if words are not counted."""
        if self._counts is None:
            return None
        self._split_captions()
        return dict(sorted(self._counts.items()))

    def keep_in(self, state: dict[str, Any]) -> None:
        """Put the counts into a checkpoint's state, if words are counted."""
        if self._counts is not None:
            state[KEY] = self.words

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a checkpoint's state; if that has no counts, count nothing."""
        kept = state.get(KEY)
        self._counts = None if kept is None or self._counts is None else Counter(kept)
        self._captions.clear()

    def unknown(self, prompts: Sequence[str]) -> str:
        """Which words of prompts were never counted, in the words of `unknown_words`."""
        return unknown_words(self._encoder, self.words, prompts)

    def _split_captions(self) -> None:
        assert self._counts is not None
        for caption, times in self._captions.items():
            for word in set(self._encoder.words(caption) or ()):
                self._counts[word] += times
        self._captions.clear()


def most_frequent(counts: Mapping[str, int]) -> dict[str, int]:
    """The `MOST` most frequent words, sorted; ties in alphabetical order."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return dict(sorted(ranked[:MOST]))


def read_words(folder: Path) -> dict[str, int] | None:
    """The word counts of an export; None if it has none."""
    try:
        words: Any = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    valid = isinstance(words, dict) and all(isinstance(count, int) for count in words.values())
    return words if valid else None


def write_words(folder: Path, words: Mapping[str, int] | None) -> None:
    """Write the most frequent words into an export, if they are known."""
    if words is not None:
        write_json(folder / FILE, most_frequent(words))


def warn_of_prompts(encoder: TextEncoder, words: Mapping[str, int] | None, prompts: Sequence[str]) -> None:
    """Warn of each of the `prompt_notes`, with a `T2ikitWarning`."""
    for note in prompt_notes(encoder, words, prompts):
        warnings.warn(note, T2ikitWarning, stacklevel=3)


def prompt_notes(encoder: TextEncoder, words: Mapping[str, int] | None, prompts: Sequence[str]) -> list[str]:
    """What to know about prompts before looking at the images, a line each.

    Args:
        encoder: of the run.
        words: the counts of the words that the run was trained on; None: not known.
        prompts: in any order.

    Returns:
        at most one line on words that were never trained on, and one on prompts that are too long.
    """
    notes = (unknown_words(encoder, words, prompts), cut_prompts(encoder, prompts))
    return [note for note in notes if note]


def unknown_words(encoder: TextEncoder, words: Mapping[str, int] | None, prompts: Sequence[str]) -> str:
    """Which words of prompts the run was never trained on, and what may be meant; "" if none."""
    if words is None:
        return ""
    asked = dict.fromkeys(word for prompt in prompts for word in encoder.words(prompt) or ())
    unknown = [word for word in asked if word not in words]
    seldom = "hardly ever or never" if len(words) >= MOST else "never"
    return f"{seldom} seen in training: {_named(unknown, words)}" if unknown else ""


def _named(unknown: Sequence[str], words: Mapping[str, int]) -> str:
    shown = []
    for word in unknown[:NAMED]:
        meant = nearest(word, words)
        shown.append(quoted(word, ENDING) + (f" (did you mean {quoted(meant, ENDING)}?)" if meant else ""))
    rest = len(unknown) - NAMED
    return ", ".join(shown) + (f" and {rest} more" if rest > 0 else "")


def nearest(word: str, words: Mapping[str, int]) -> str | None:
    """The known word most similar to an unknown one, the more frequent of equals; None: none is."""
    near = [known for known in words if abs(len(known) - len(word)) <= 2]
    close = difflib.get_close_matches(word, near, n=3, cutoff=CLOSE) if len(word) > 2 else []
    likeness = {known: difflib.SequenceMatcher(None, known, word).ratio() for known in close}
    return max(close, key=lambda known: (likeness[known], words[known], known), default=None)


def cut_prompts(encoder: TextEncoder, prompts: Sequence[str]) -> str:
    """How many prompts are too long for the encoder, and where the first is cut; "" if none."""
    kept = [part for prompt in dict.fromkeys(prompts) if (part := encoder.cut(prompt)) is not None]
    if not kept:
        return ""
    part = kept[0]
    ending = part if len(part) <= ENDING else f"…{part[-ENDING:]}"
    what = "a prompt is" if len(kept) == 1 else f"{len(kept)} prompts are"
    first = "" if len(kept) == 1 else "the first "
    return (
        f"{what} cut, {first}after {len(part.split())} words ({quoted(ending, ENDING + 1)}): "
        f"what follows is not read (text.length={encoder.length})"
    )
