"""Images side by side with their prompts."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from PIL import Image, ImageDraw

from t2ikit.utils.label_fonts import FONT_SIZE, LabelFont, label_fonts

SEEN = 96
"""Images are upscaled to at least this many pixels."""
GAP = 6
MARGIN = 12
LABEL_WIDTH = 170
LABEL_LINES = 3
"""What a longer label has beyond so many lines is left out."""
CHECK, CHECK_LEVELS = 8, (204, 255)
"""Side of a checkerboard's squares, pixels, and their levels."""
TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
INK, PAPER = "#202020", "#ffffff"


def prompt_labels(prompts: Sequence[str]) -> list[str]:
    """Labels of what was sampled from prompts; an empty one is named."""
    return [prompt if prompt.strip() else "(no prompt)" for prompt in prompts]


def labelled_grid(
    rows: Sequence[Sequence[Image.Image]],
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    *,
    cell: int | None = None,
) -> Image.Image:
    """One image with a row for each prompt and a column for each seed or guidance scale.

    Args:
        rows: images, row by row; a row may be shorter than the longest.
        row_labels: one for each row, drawn at its left in at most three lines.
        column_labels: one for each column, drawn above in at most three lines; all empty: no such line.
        cell: side of a cell, pixels: small images are upscaled by the largest whole factor that fits,
            larger ones are shrunk. None: the smallest whole multiple of the largest image's side that
            is at least 96.

    Raises:
        ValueError: there is no image, or there are not as many labels as rows or columns.
    """
    columns = max((len(row) for row in rows), default=0)
    if columns == 0 or len(row_labels) != len(rows) or len(column_labels) != columns:
        raise ValueError(
            f"{len(rows)} rows of up to {columns} images need as many labels, at least one each; "
            f"got {len(row_labels)} row and {len(column_labels)} column labels"
        )
    if cell is None:
        side = max(max(image.size) for row in rows for image in row)
        cell = side * math.ceil(SEEN / side)
    font = label_fonts()
    heads = [wrap(label, font, cell, LABEL_LINES) for label in column_labels]
    texts = [wrap(label, font, LABEL_WIDTH, LABEL_LINES) for label in row_labels]
    left = MARGIN + (LABEL_WIDTH + MARGIN if any(texts) else 0)
    heights = [max(cell, _height(text)) for text in texts]
    top = MARGIN + max(map(_height, heads)) + (GAP if any(heads) else 0)
    width = left + columns * (cell + GAP) - GAP + MARGIN
    sheet = Image.new("RGB", (width, top + sum(heights) + GAP * (len(rows) - 1) + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, head in enumerate(heads):
        _write(draw, font, head, left + column * (cell + GAP), top - GAP - _height(head))
    for row, text, height in zip(rows, texts, heights, strict=True):
        _write(draw, font, text, MARGIN, top + (height - _height(text)) // 2)
        for column, image in enumerate(row):
            shown = fit(image, cell)
            x = left + column * (cell + GAP) + (cell - shown.width) // 2
            sheet.paste(shown, (x, top + (height - shown.height) // 2))
        top += height + GAP
    return sheet


def contact_sheet(images: Sequence[Image.Image], captions: Sequence[str], *, columns: int = 6) -> Image.Image:
    """Images in rows, each with its caption below.

    Args:
        images: at least one.
        captions: one an image, wrapped to its width, at most three lines of it.
        columns: images in a row.
    """
    side = max(max(image.size) for image in images)
    cell, font = max(side * math.ceil(SEEN / side), LABEL_WIDTH // 2 + 32), label_fonts()
    rows = [range(at, min(at + columns, len(images))) for at in range(0, len(images), columns)]
    texts = [wrap(caption, font, cell - GAP, LABEL_LINES) for caption in captions]
    heights = [cell + GAP + max(_height(texts[i]) for i in row) for row in rows]
    width = 2 * MARGIN + min(columns, len(images)) * (cell + GAP) - GAP
    sheet = Image.new("RGB", (width, 2 * MARGIN + sum(heights) + GAP * (len(rows) - 1)), PAPER)
    draw, top = ImageDraw.Draw(sheet), MARGIN
    for row, height in zip(rows, heights, strict=True):
        for column, i in enumerate(row):
            shown, left = fit(images[i], cell), MARGIN + column * (cell + GAP)
            sheet.paste(shown, (left + (cell - shown.width) // 2, top + (cell - shown.height) // 2))
            _write(draw, font, texts[i], left, top + cell + GAP)
        top += height + GAP
    return sheet


def fit(image: Image.Image, cell: int) -> Image.Image:
    """Upscale by a whole factor without smoothing, or shrink with it, to lie within a square cell.

    What is transparent lies on a checkerboard.
    """
    image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    side = max(image.size)
    if side > cell:
        scaled = (max(1, round(n * cell / side)) for n in image.size)
        image = image.resize(tuple(scaled), Image.Resampling.LANCZOS)  # type: ignore[arg-type]
    else:
        factor = cell // side
        image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    if image.mode == "RGB":
        return image
    return Image.alpha_composite(_checkerboard(*image.size), image).convert("RGB")


def _checkerboard(width: int, height: int) -> Image.Image:
    """RGBA: what stands behind transparent pixels."""
    rows, columns = np.ogrid[:height, :width]
    board = np.where((rows // CHECK + columns // CHECK) % 2, *CHECK_LEVELS).astype(np.uint8)
    return Image.fromarray(board).convert("RGBA")


class Measures(Protocol):
    """What knows how wide a text is: a font of Pillow, or `LabelFont`."""

    def getlength(self, text: str) -> float:
        """Pixels."""


def wrap(text: str, font: Measures, width: int, most: int | None = None) -> list[str]:
    """Break a label into lines at most `width` pixels wide, within words only where one is too long.

    Lines beyond `most` are left out, and an ellipsis at the end of the last one says so.
    """
    text = " ".join(_printable(text).split())
    room = len(text) if most is None else most * width  # a letter takes a pixel at least
    lines: list[str] = []
    for word in text[:room].split():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(joined) <= width:
            lines[-1] = joined
        else:
            lines += _pieces(word, font, width)
        if most is not None and len(lines) > most:
            break
    if len(text) <= room and (most is None or len(lines) <= most):
        return lines
    kept = lines[:most]
    return [*kept[:-1], _ended(kept[-1], font, width)]


def _ended(line: str, font: Measures, width: int) -> str:
    """A line with an ellipsis at its end, still at most `width` pixels wide."""
    while line and font.getlength(f"{line}…") > width:
        line = line[:-1]
    return f"{line.rstrip()}…"


def _pieces(word: str, font: Measures, width: int) -> list[str]:
    pieces = [""]
    for letter in word:
        if pieces[-1] and font.getlength(pieces[-1] + letter) > width:
            pieces.append("")
        pieces[-1] += letter
    return pieces


def _printable(text: str) -> str:
    """Text that any font takes: lone surrogates and control characters become spaces.

    What turns the direction of text around goes, too: a label would read otherwise than it is.
    """
    kept = (" " if unicodedata.category(letter) in ("Cs", "Cc", "Zl", "Zp") else letter for letter in text)
    return "".join(letter for letter in kept if letter not in TURNING)


def _line_height() -> int:
    return FONT_SIZE + 4


def _height(lines: Sequence[str]) -> int:
    return len(lines) * _line_height()


def _write(draw: ImageDraw.ImageDraw, font: LabelFont, lines: Sequence[str], x: int, y: int) -> None:
    for number, line in enumerate(lines):
        font.write(draw, x, y + number * _line_height(), line, INK)
