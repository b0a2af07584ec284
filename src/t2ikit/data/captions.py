"""The captions of a row of metadata: which key holds them, and which values are valid."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from t2ikit.data.problems import Problem
from t2ikit.errors import did_you_mean

CAPTION_KEYS = ("text", "caption", "captions", "prompt", "description")
"""Keys tried in this order when none is given."""
EMPTY = Problem(
    "an empty caption", "at least one caption that is not blank", "write a caption or remove the line"
)
NO_TEXT = Problem(
    "a caption that is not text", "a string or a list of strings", "write the caption in quote marks"
)
BAD_WEIGHT = Problem(
    "captions with weights that are none",
    'a number for each caption, at least 0, not all 0: {"text": "a cat", "weight": 3}',
    "mend the weights, or leave them out",
)


def tidy(text: str) -> str:
    """The text on one line, without repeated, leading or trailing blanks."""
    return " ".join(text.split())


def caption_key(keys: Collection[str], wanted: str | None) -> str | None:
    """The key that holds a row's captions; None if there is none."""
    names = CAPTION_KEYS if wanted is None else (wanted,)
    return next((name for name in names if name in keys), None)


def missing(keys: Collection[str], wanted: str | None, ignored: Collection[str] = ()) -> Problem:
    """The problem that a row has no captions, with the keys that may be meant."""
    names = CAPTION_KEYS if wanted is None else (wanted,)
    others = [name for name in keys if name not in ignored]
    return Problem(
        f"a line without {' or '.join(names[:2])}",
        f"the caption under {' or '.join(names)}",
        "name the key that holds the caption with data.caption_column: " + did_you_mean(names[0], others),
    )


class WeightedCaptions(tuple[str, ...]):
    """Captions of one image of which some are chosen more often.

    Attributes:
        weights: above 0, one for each.
    """

    weights: tuple[float, ...]

    @classmethod
    def of(cls, weights: Mapping[str, float]) -> tuple[str, ...]:
        """Captions with their weights; a plain tuple where all weights are equal."""
        kept = {caption: weight for caption, weight in weights.items() if weight}
        if len(set(kept.values())) < 2:
            return tuple(kept)
        captions = cls(kept)
        captions.weights = tuple(kept.values())
        return captions

    def at(self, position: float) -> str:
        """The caption at a position in [0, 1), of which each has a share of the length of its weight."""
        total = math.fsum(self.weights)
        ends = itertools.accumulate(self.weights)
        return next((c for c, end in zip(self, ends, strict=True) if position * total < end), self[-1])


def weights_of(captions: Sequence[str]) -> tuple[float, ...]:
    """The weights of an image's captions; 1 each where they have none."""
    return captions.weights if isinstance(captions, WeightedCaptions) else (1.0,) * len(captions)


def joined(*parts: Sequence[str]) -> tuple[str, ...]:
    """The distinct captions of several rows of one image, each with its first weight."""
    found: dict[str, float] = {}
    for captions in parts:
        for caption, weight in zip(captions, weights_of(captions), strict=True):
            found.setdefault(caption, weight)
    return WeightedCaptions.of(found)


def read_captions(value: Any, weights: Any = None) -> tuple[str, ...] | Problem:
    """The distinct captions in a value; or the problem with it.

    Args:
        value: a string, an object {"text", "weight"}, or a list of these.
        weights: a list of as many numbers as `value` has captions; anything else says nothing.
    """
    if value is None:
        return EMPTY
    parts = value if isinstance(value, (list, tuple)) else [value]
    texts: list[Any] = [part.get("text") if isinstance(part, Mapping) else part for part in parts]
    given = [part.get("weight", 1) if isinstance(part, Mapping) else 1 for part in parts]
    if isinstance(weights, (list, tuple)) and isinstance(value, (list, tuple)):
        given = list(weights)
    if not all(isinstance(text, str) for text in texts):
        return NO_TEXT
    if len(given) != len(texts) or not all(map(_is_weight, given)) or (texts and not any(given)):
        return BAD_WEIGHT
    found: dict[str, float] = {}
    for caption, weight in zip(map(tidy, texts), given, strict=True):
        if caption:
            found.setdefault(caption, float(weight))
    return WeightedCaptions.of(found) or EMPTY


def _is_weight(value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and 0 <= value < math.inf


def captions_of(
    row: Mapping[str, Any], wanted: str | None, ignored: Collection[str] = ()
) -> tuple[tuple[str, ...], None] | tuple[None, tuple[Problem, str]]:
    """A row's captions; or the problem with them, and a few words to find the place by.

    `weights` beside a list of captions are theirs.
    """
    key = caption_key(row.keys(), wanted)
    if key is None:
        return None, (missing(row.keys(), wanted, ignored), "")
    found = read_captions(row[key], row.get("weights"))
    if isinstance(found, Problem):
        value = row.get("weights") or row[key] if found is BAD_WEIGHT else row[key]
        shown = f" ({key} = {json.dumps(value, default=str)[:40]})" if found is not EMPTY else ""
        return None, (found, shown)
    return found, None
