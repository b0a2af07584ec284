"""The words a run has been trained on, and what there is to say about prompts.

Words are counted as a run trains and kept in its checkpoints, so that `sample` can name those it never saw. A
run whose encoder tells no words apart (it has subwords), or that began before words were counted, keeps none
and says nothing of them.
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
"""Where an export keeps them."""
KEY = "words"
"""Where a checkpoint's state keeps them."""
MOST = 65_536
"""Words that are kept, the most frequent."""
PRUNED_EVERY = 1000
"""Steps after which rarer words are dropped: the same for a run that was stopped and went on."""
WAITING = 100_000
"""Different captions that wait to be taken apart, at most."""
NAMED = 6
"""Unknown words that a message names; the others are counted."""
ENDING = 40
"""Characters that are shown of where a prompt is cut."""
CLOSE = 0.8
"""Likeness (of `difflib`) of a known word that may have been meant."""


class Vocabulary:
    """Counts how many of the captions trained on have each word.

    Taking captions apart is put off until the counts are wanted: while training, a caption is only counted.

    Args:
        encoder: tells words apart; one that does not is not asked again.
    """

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder
        self._counts: Counter[str] | None = None if encoder.words("") is None else Counter()
        self._captions: Counter[str] = Counter()

    def see(self, captions: Sequence[str], step: int) -> None:
        """Count the captions of a step, those of all processes."""
        if self._counts is None:
            return
        self._captions.update(captions)
        prunes = (step + 1) % PRUNED_EVERY == 0
        if prunes or len(self._captions) > WAITING:
            self._take_apart()
        if prunes:
            self._counts = Counter(most_frequent(self._counts))

    @property
    def words(self) -> dict[str, int] | None:
        """The counts by word, sorted; None where words are not counted."""
        if self._counts is None:
            return None
        self._take_apart()
        return dict(sorted(self._counts.items()))

    def keep_in(self, state: dict[str, Any]) -> None:
        """Put the counts into a checkpoint's state; nothing where words are not counted."""
        if self._counts is not None:
            state[KEY] = self.words

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint's state; of a run from before words were counted, count none."""
        kept = state.get(KEY)
        self._counts = None if kept is None or self._counts is None else Counter(kept)
        self._captions.clear()

    def unknown(self, prompts: Sequence[str]) -> str:
        """Which words of prompts are none of those counted, as `unknown_words` says it."""
        return unknown_words(self._encoder, self.words, prompts)

    def _take_apart(self) -> None:
        assert self._counts is not None
        for caption, times in self._captions.items():
            for word in set(self._encoder.words(caption) or ()):
                self._counts[word] += times
        self._captions.clear()


def most_frequent(counts: Mapping[str, int]) -> dict[str, int]:
    """The `MOST` most frequent words, sorted; of equally frequent ones the first in the alphabet."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return dict(sorted(ranked[:MOST]))


def read_words(folder: Path) -> dict[str, int] | None:
    """The words that an export keeps; None where it has none."""
    try:
        words: Any = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    right = isinstance(words, dict) and all(isinstance(count, int) for count in words.values())
    return words if right else None


def write_words(folder: Path, words: Mapping[str, int] | None) -> None:
    """Put the most frequent words into an export; nothing where they are not known."""
    if words is not None:
        write_json(folder / FILE, most_frequent(words))


def warn_of_prompts(encoder: TextEncoder, words: Mapping[str, int] | None, prompts: Sequence[str]) -> None:
    """Warn of each of the `prompt_notes`, with a `T2ikitWarning`."""
    for note in prompt_notes(encoder, words, prompts):
        warnings.warn(note, T2ikitWarning, stacklevel=3)


def prompt_notes(encoder: TextEncoder, words: Mapping[str, int] | None, prompts: Sequence[str]) -> list[str]:
    """What a person should know of prompts before they look at the images, a line each.

    Args:
        encoder: of the run.
        words: that the run was trained on, with counts; None: not known.
        prompts: in any order.

    Returns:
        at most one line on words that were never trained on, and one on prompts that are cut.
    """
    notes = (unknown_words(encoder, words, prompts), cut_prompts(encoder, prompts))
    return [note for note in notes if note]


def unknown_words(encoder: TextEncoder, words: Mapping[str, int] | None, prompts: Sequence[str]) -> str:
    """Which words of prompts the run was never trained on, and what may be meant; "" where there are none."""
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
    """The known word that is most like an unknown one, the more frequent of equals; None: none is like it."""
    near = [known for known in words if abs(len(known) - len(word)) <= 2]
    close = difflib.get_close_matches(word, near, n=3, cutoff=CLOSE) if len(word) > 2 else []
    likeness = {known: difflib.SequenceMatcher(None, known, word).ratio() for known in close}
    return max(close, key=lambda known: (likeness[known], words[known], known), default=None)


def cut_prompts(encoder: TextEncoder, prompts: Sequence[str]) -> str:
    """How many prompts are longer than the encoder reads, and where the first is cut; "" where none is."""
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
