"""Images between [-1, 1], the levels 0 to 255 of a file, and Pillow."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageColor
from torch import Tensor

MOST_SIDE = 16383
"""Pixels of a side that WebP can hold."""


def to_levels(images: Tensor) -> Tensor:
    """Images in [-1, 1] as levels from 0 to 255, float64, neither rounded nor clipped."""
    return (images.double() + 1) * 127.5


def to_uint8(images: Tensor) -> Tensor:
    """Images in [-1, 1] as uint8; what lies outside is clipped, NaN is 0. Exact for what came from uint8."""
    return ((images.detach().float() + 1) * 127.5).nan_to_num(0.0).round().clamp(0, 255).to(torch.uint8)


def from_uint8(images: Tensor) -> Tensor:
    """Images with levels from 0 to 255 in [-1, 1], float32."""
    return images.float() / 127.5 - 1


def as_saved(images: Tensor) -> Tensor:
    """Images in [-1, 1] as an 8-bit file gives them back."""
    return from_uint8(to_uint8(images))


def to_pil(images: Tensor) -> list[Image.Image]:
    """Images (B, C, H, W) in [-1, 1] as 8-bit images; what lies outside is clipped, NaN is black.

    Of 3 channels they are RGB, of 4 RGBA, which came times alpha; of any other number the first is gray.
    """
    levels = to_uint8(images.cpu())
    if levels.shape[1] == 4:
        levels = _divided_by_alpha(levels)
    elif levels.shape[1] != 3:
        return [Image.fromarray(image.numpy()) for image in levels[:, 0]]
    return [Image.fromarray(image.numpy()) for image in levels.permute(0, 2, 3, 1).contiguous()]


def _divided_by_alpha(levels: Tensor) -> Tensor:
    """(B, 4, H, W) uint8 of RGB times alpha and alpha, to RGB and alpha; black where alpha is 0."""
    colours, alpha = levels[:, :3].int(), levels[:, 3:].int()
    straight = (255 * colours + alpha // 2) // alpha.clamp_min(1) * (alpha > 0)
    return torch.cat([straight.clamp_max(255), alpha], 1).to(torch.uint8)


def from_pil(images: Sequence[Image.Image]) -> Tensor:
    """Images of one size as (B, 3, H, W) in [-1, 1]."""
    pixels = np.stack([np.array(flattened(image)) for image in images])
    return from_uint8(torch.from_numpy(pixels).permute(0, 3, 1, 2))


def flattened(image: Image.Image, background: str = "white") -> Image.Image:
    """An image as RGB, on a colour where it is transparent."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    behind = Image.new("RGBA", image.size, (*ImageColor.getrgb(background)[:3], 255))
    return Image.alpha_composite(behind, image).convert("RGB")


def as_rgb(images: Tensor) -> Tensor:
    """Images (..., C, H, W) in [-1, 1] as RGB: with 4 channels on white, gray thrice, of others the first.

    Those of 4 are RGB times alpha, and alpha: white shows through by 1 - alpha.
    """
    channels = images.shape[-3]
    if channels == 3:
        return images
    if channels == 4:
        colours, alpha = images.split((3, 1), -3)
        return colours - alpha + 1
    return images[..., :1, :, :].expand(*images.shape[:-3], 3, *images.shape[-2:])


def embed(image: Image.Image, most: int) -> str:
    """An image as a data URL.

    Args:
        image: RGB, of any size.
        most: bytes of WebP that it may take: kept without loss where they suffice, else as well as they
            allow, at last at half its size.
    """
    ways: list[dict[str, Any]] = [{"lossless": True, "quality": 60}, *({"quality": q} for q in (90, 70, 40))]
    for way in ways if max(image.size) <= MOST_SIDE else []:
        content = io.BytesIO()
        image.save(content, "WEBP", **way)
        if content.tell() <= most:
            return "data:image/webp;base64," + base64.b64encode(content.getvalue()).decode()
    return embed(image.reduce(2), most)
