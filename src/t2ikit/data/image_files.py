"""One image file to pixels: opened, turned upright, put on a background, resized and cropped."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
import torch
from PIL import Image, ImageColor, ImageOps
from torch import Tensor

from t2ikit.core.shapes import Shape, nearest
from t2ikit.utils.images import flattened

SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".jfif", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".ppm", ".pgm")
)
UNREADABLE = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    LookupError,
    TypeError,
    ArithmeticError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)
"""What Pillow raises for damaged files."""

SIXTEEN_BIT = frozenset(("I", "I;16", "I;16L", "I;16B", "I;16N"))
DRAFT = 3
"""A JPEG is decoded at its smallest scale that has at least this many times the wanted side."""
LONGEST = 2
"""Random crops are taken of the middle of an image, which is at most so many times as long as wide."""


def open_image(source: Path | IO[bytes]) -> Image.Image:
    """Open an image: this reads its header, not its pixels.

    Raises:
        one of `UNREADABLE`: it is not an image, or has more pixels than `PIL.Image.MAX_IMAGE_PIXELS`.
    """
    image = Image.open(source)
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        image.close()
        raise ValueError(
            f"{image.width} x {image.height} pixels, more than the {limit} that are safe to decode"
        )
    return image


def to_channels(image: Image.Image, background: str = "white", channels: int = 3) -> Image.Image:
    """The first frame with so many channels, upright by its EXIF tag.

    Args:
        image: of any mode: palette, grey, 16 bits, CMYK, with or without alpha.
        background: the colour behind transparent pixels, as `PIL.ImageColor` reads it.
        channels: 1 is gray, 3 RGB, and 4 RGB times alpha, with alpha: there is nothing behind those.

    Raises:
        one of `UNREADABLE`: the pixels are damaged, or floating-point and so without a known range.
    """
    image.load()
    image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise ValueError("floating-point pixels, whose range is not known")
    if image.mode in SIXTEEN_BIT:
        image = _from_sixteen_bits(image)
    if channels == 4:
        return image.convert("RGBA").convert("RGBa")
    rgb = flattened(image, background)
    return rgb if channels == 3 else rgb.convert("L")


def _from_sixteen_bits(image: Image.Image) -> Image.Image:
    """0 .. 65535 to 0 .. 255; Pillow's own conversion cuts off at 255."""
    values = np.asarray(image).astype(np.float64).clip(0, 65535)
    return Image.fromarray(np.round(values / 257).astype(np.uint8))


def covering(image: Image.Image, shape: Shape) -> Image.Image:
    """The centre of the ratio of `shape` (H, W), resized with antialiasing (bicubic) to it.

    Equal to resizing until it is covered and cropping the centre, without the long image in between.
    """
    height, width = shape
    if image.width * height >= image.height * width:
        across, down = image.height * width / height, float(image.height)
    else:
        across, down = float(image.width), image.width * height / width
    left, top = (image.width - across) / 2, (image.height - down) / 2
    box = (left, top, left + across, top + down)
    return image.resize((width, height), Image.Resampling.BICUBIC, box=box)


def padded(image: Image.Image, size: int, background: str = "white") -> Image.Image:
    """The whole image, resized with antialiasing (bicubic) to fit `size` x `size`, on the background.

    An image with alpha is put on nothing.
    """
    scale = size / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    paper = Image.new("RGB", (1, 1), ImageColor.getrgb(background)[:3])
    paper = Image.new("RGBa", (1, 1)) if image.mode == "RGBa" else paper.convert(image.mode)
    paper = paper.resize((size, size))
    small = image.resize((width, height), Image.Resampling.BICUBIC)
    paper.paste(small, ((size - width) // 2, (size - height) // 2))
    return paper


def uncropped(width: int, height: int, size: int) -> Shape:
    """Height and width of an image whose shorter side is resized to `size`, for random crops.

    The longer side has at most `LONGEST` times as many pixels, and as many on either side of the centre
    square, so that the centre is what `covering` gives of it.
    """
    longer = size * max(width, height) // min(width, height)
    longer = min(longer, LONGEST * size)
    longer -= (longer - size) % 2
    return (size, longer) if width > height else (longer, size)


def fitted(
    image: Image.Image, size: int, background: str, fit: str, shapes: Sequence[Shape] = ()
) -> Image.Image:
    """An image brought to `size` x `size`: "crop", "pad" or "stretch"; with "buckets" to one of `shapes`.

    With "random", it is to be cropped later, and as long as that takes.
    """
    if fit == "random":
        return covering(image, uncropped(*image.size, size))
    if fit == "buckets":
        return covering(image, nearest(image.width / image.height, shapes))
    if fit == "pad":
        return padded(image, size, background)
    if fit == "stretch":
        return image.resize((size, size), Image.Resampling.BICUBIC)
    return covering(image, (size, size))


def to_tensor(image: Image.Image) -> Tensor:
    """An image of C channels as (C, H, W) uint8."""
    pixels = np.array(image)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def read_image(
    source: Path | IO[bytes],
    size: int,
    background: str = "white",
    fit: str = "crop",
    channels: int = 3,
    shapes: Sequence[Shape] = (),
) -> Tensor:
    """Decode one file to (C, size, size) uint8; with "buckets" to that of `shapes` (H, W) which is nearest.

    `fit` is "crop", "random", "pad", "stretch" or "buckets", for images that are not square.

    Raises:
        one of `UNREADABLE`: the file is not a whole image.
    """
    with open_image(source) as image:
        if fit in ("crop", "random", "buckets"):  # an oblong image to be padded may be decoded too small
            image.draft(None, (DRAFT * size, DRAFT * size))
        whole = to_channels(image, background, channels)
        return to_tensor(fitted(whole, size, background, fit, shapes))
