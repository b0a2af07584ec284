"""The captions of a row of metadata: which key holds them, and which values are valid."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
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


def read_captions(value: Any) -> tuple[str, ...] | Problem:
    """The distinct captions in a value, a string or a list of them; or the problem with it."""
    texts = value if isinstance(value, (list, tuple)) else [value]
    if value is None:
        return EMPTY
    if not all(isinstance(text, str) for text in texts):
        return NO_TEXT
    captions = tuple(dict.fromkeys(caption for caption in map(tidy, texts) if caption))
    return captions or EMPTY


def captions_of(
    row: Mapping[str, Any], wanted: str | None, ignored: Collection[str] = ()
) -> tuple[tuple[str, ...], None] | tuple[None, tuple[Problem, str]]:
    """A row's captions; or the problem with them, and a few words to find the place by."""
    key = caption_key(row.keys(), wanted)
    if key is None:
        return None, (missing(row.keys(), wanted, ignored), "")
    found = read_captions(row[key])
    if isinstance(found, Problem):
        shown = f" ({key} = {json.dumps(row[key], default=str)[:40]})" if found is NO_TEXT else ""
        return None, (found, shown)
    return found, None
