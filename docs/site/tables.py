"""Markdown of the reference pages: text that stands for itself, and tables."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence


def plain(text: str) -> str:
    """Text of the code as markdown shows it: what stands in backquotes stays code, all else is escaped."""
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(piece if number % 2 else _escaped(piece) for number, piece in enumerate(pieces))


def _escaped(text: str) -> str:
    return re.sub(r"([\\*_\[\]|#])", r"\\\1", html.escape(text, quote=False))


def code(text: str, anchor: str = "") -> str:
    """Text as code, or nothing; with an anchor it can be linked to."""
    return f"`{text}`" + (f"{{ #{anchor} }}" if anchor else "") if text else ""


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are markdown already."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
