"""Shapes of images that are not square: a few buckets with about as many pixels each.

Source: aspect ratio bucketing (NovelAI, "NovelAI Improvements on Stable Diffusion", 2022): each batch is of
one shape, so that images are neither padded nor cut to squares.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Sequence

from t2ikit.errors import UserError, option

Shape = tuple[int, int]
"""Height and width, pixels."""
RATIOS = (1.0, 5 / 4, 4 / 3, 3 / 2, 16 / 9, 2.0)
"""Of the long side to the short one: those of screens and photographs. Beyond 2, the short side of an image
with as many pixels as a square would have too few of them."""
MOST = RATIOS[-1]
ODD, LIMIT = "images of this shape cannot be sampled", "width:height from 1:2 to 2:1"
"""What is said of a shape beyond `MOST`."""
LESS = 0.5
"""How much a wrong number of pixels counts against a wrong ratio of the sides."""


@functools.lru_cache(maxsize=64)
def bucket_shapes(size: int, multiple: int) -> tuple[Shape, ...]:
    """The shapes of about size * size pixels, from upright to wide; the square is one of them.

    Args:
        size: side of the square, pixels, a multiple of `multiple`.
        multiple: of which all sides are multiples.
    """
    wide = {_nearest_shape(ratio, size, multiple) for ratio in RATIOS[1:]}
    shapes = {(size, size), *wide, *((width, height) for height, width in wide)}
    return tuple(sorted(shapes, key=lambda shape: (shape[1] / shape[0], shape)))


def _nearest_shape(ratio: float, size: int, multiple: int) -> Shape:
    """The shape that comes nearest to a ratio of width to height, and to size * size pixels."""

    def cost(shape: Shape) -> float:
        height, width = shape
        off, more = math.log(width / height / ratio), math.log(width * height / size**2)
        return round(abs(off) + LESS * abs(more), 6)

    below = [(height, math.floor(height * ratio / multiple) * multiple) for height in _sides(size, multiple)]
    shapes = [(height, width + more) for height, width in below for more in (0, multiple) if width + more]
    return min(shapes, key=cost)


def _sides(size: int, multiple: int) -> range:
    return range(multiple, size + 1, multiple)


def nearest(ratio: float, shapes: Sequence[Shape]) -> Shape:
    """The shape whose ratio of width to height comes nearest; the first of equals."""
    return min(shapes, key=lambda shape: round(abs(math.log(shape[1] / shape[0] / ratio)), 6))


def shown(shape: Shape) -> str:
    """A shape as messages have it, such as "48 x 24": width and height."""
    return f"{shape[1]} x {shape[0]}"


def within_limit(ratio: float) -> bool:
    """Whether images of this ratio of width to height can be sampled."""
    return 1 / MOST <= ratio <= MOST


def checked_aspect(given: str | float | None) -> str | float | None:
    """What was given as an aspect, where `aspect_ratio` takes it or there is none.

    Raises:
        UserError: it does not.
    """
    if given is not None:
        aspect_ratio(given)
    return given


def aspect_ratio(given: str | float) -> float:
    """Width over height, of "3:2" or a number.

    Raises:
        UserError: it is none, or longer than 2:1.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:[:/x]\s*(\d+(?:\.\d+)?))?\s*", str(given))
    width, height = (float(found[1]), float(found[2] or 1)) if found else (0.0, 0.0)
    ratio = width / height if height else 0.0
    if not within_limit(ratio):
        raise UserError(
            f"{option('aspect')} {given}: {ODD}",
            expected=LIMIT,
            got=given,
            fix=f"{option('aspect')} 3:2, or leave it out for squares",
        )
    return ratio
