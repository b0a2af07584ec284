"""Captions, prompts and names of files as they are shown: short, and without what a terminal would obey."""

from __future__ import annotations

ELLIPSIS = "…"


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
