"""Images between [-1, 1], the levels 0 to 255 of a file, and Pillow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor


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
    """Images (B, 3, H, W) in [-1, 1] as 8-bit RGB; what lies outside is clipped, NaN is black."""
    return [Image.fromarray(image.numpy()) for image in to_uint8(images.cpu()).permute(0, 2, 3, 1)]


def from_pil(images: Sequence[Image.Image]) -> Tensor:
    """Images of one size as (B, 3, H, W) in [-1, 1]."""
    pixels = np.stack([np.array(image.convert("RGB")) for image in images])
    return from_uint8(torch.from_numpy(pixels).permute(0, 3, 1, 2))
