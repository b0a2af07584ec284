"""An extension of griffe: `width, height: pixels` in a docstring is the text of both."""

from __future__ import annotations

import re
from typing import Any

import griffe

ENTRY = re.compile(r"^( {4,})(\w+(?:, \w+)+):(.*(?:\n\1 +\S.*)*)$", re.MULTILINE)
"""Names, and their text with the lines that are indented further."""
SECTION = re.compile(r"^(?:Args|Attributes):\n(?:(?: +.*)?(?:\n|$))+", re.MULTILINE)


def split(text: str) -> str:
    """A docstring in which each parameter and attribute has an entry of its own."""
    return SECTION.sub(lambda section: ENTRY.sub(_each, section[0]), text)


def _each(entry: re.Match[str]) -> str:
    indent, names, text = entry.groups()
    return "\n".join(f"{indent}{name}:{text}" for name in names.split(", "))


class SplitParameters(griffe.Extension):
    """Splits the entries of every docstring before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **options: Any) -> None:
        """Change the text of an object's docstring."""
        if obj.docstring:
            obj.docstring.value = split(obj.docstring.value)
