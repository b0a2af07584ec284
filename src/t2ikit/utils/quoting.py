"""Captions, prompts and file names in messages and Markdown: short, and shown as they are, never obeyed.

Source of the Markdown: CommonMark 0.31, sections 2.4 (backslash escapes), 4.5 (fenced code) and 6.1 (code
spans).
"""

from __future__ import annotations

import re

ELLIPSIS = "…"
HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
SPECIAL = re.compile(r"[\\`*_{}\[\]()#!|~$&<>]")
"""Where these stand, Markdown (with its tables and formulas) or HTML might begin."""


def visible(text: str) -> str:
    """The text with every character that is not printed as itself escaped, such as ESC as \\x1b."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text
    )


def visible_lines(text: str) -> list[str]:
    """The lines of a text, each as `visible` shows it; tabs stay."""
    lines = (line.removesuffix("\r").split("\t") for line in text.split("\n"))
    return ["\t".join(map(visible, parts)) for parts in lines]


def shortened(text: str, most: int) -> str:
    """The text, or its first words with an ellipsis where it has more than `most` characters."""
    if len(text) <= most:
        return text
    cut = text[: most - 1]
    words, space, _ = cut.rpartition(" ")
    return (words if space and 2 * len(words) > most else cut).rstrip() + ELLIPSIS


def quoted(text: str, most: int = 60) -> str:
    """The text in quotation marks on one line, at most about `most` characters of it, safe for a terminal."""
    return repr(shortened(text, most))


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


def one_line(error: object, most: int = 200) -> str:
    """What an exception says, on one line of at most `most` characters; its type where it says nothing."""
    return shortened(" ".join(str(error).split()), most) or type(error).__name__
