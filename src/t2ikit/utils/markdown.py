"""Text of others in Markdown: names, captions and settings are shown as they are, never obeyed.

Source: CommonMark 0.31, sections 2.4 (backslash escapes), 4.5 (fenced code) and 6.1 (code spans).
"""

from __future__ import annotations

import re

from t2ikit.utils.quoting import visible

HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
SPECIAL = re.compile(r"[\\`*_{}\[\]()#!|~$&<>]")
"""Where these stand, Markdown (with its tables and formulas) or HTML might begin."""


def escaped(text: object) -> str:
    """The text on one line, for a heading, a sentence or a cell of a table."""
    return SPECIAL.sub(lambda found: HTML.get(found[0], "\\" + found[0]), visible(str(text)))


def code(text: object) -> str:
    """The text as a code span on one line; not for tables, where a bar would end the cell."""
    shown = visible(str(text)) or " "
    fence = "`" * (_longest(shown) + 1)
    pad = (
        " " if shown[0] == "`" or shown[-1] == "`" or (shown.startswith(" ") and shown.endswith(" ")) else ""
    )
    return f"{fence}{pad}{shown}{pad}{fence}"


def code_block(text: str, language: str) -> list[str]:
    """The text as lines of a fenced block that nothing in it can end."""
    fence = "`" * max(3, _longest(text) + 1)
    return [f"{fence}{language}", text, fence]


def _longest(text: str) -> int:
    """How many backquotes stand in a row."""
    return max(map(len, re.findall("`+", text)), default=0)
