"""Halving and doubling of images without aliasing.

Source: the binomial low-pass filter 1 3 3 1 of StyleGAN2 (arXiv 1912.04958) and of arXiv 1904.11486. With
repeated edges it is a triangle, so doubling is bilinear interpolation.

Both are products with a small matrix: of rows, then of columns, or, where the image is small, of all its
pixels at once. On a CPU that is several times as fast as a depthwise convolution of a padded image, and
nothing of the image is kept for the backward pass.
"""

from __future__ import annotations

import torch
from torch import Tensor

AT_ONCE = 256
"""Up to so many pixels before and after, one product takes the image whole."""


def upsample(x: Tensor) -> Tensor:
    """(B, C, H, W) to (B, C, 2 H, 2 W): zeros between the pixels, then the filter; edges repeat."""
    return _resample(x, x.shape[2] * 2, x.shape[3] * 2)


def downsample(x: Tensor) -> Tensor:
    """(B, C, 2 H, 2 W) to (B, C, H, W): the filter, then every second pixel; edges repeat."""
    return _resample(x, x.shape[2] // 2, x.shape[3] // 2)


def _resample(x: Tensor, height: int, width: int) -> Tensor:
    rows, columns = _triangle(x, x.shape[2], height), _triangle(x, x.shape[3], width)
    if max(x.shape[2] * x.shape[3], height * width) <= AT_ONCE:
        return (x.flatten(2) @ torch.kron(rows, columns)).unflatten(2, (height, width))
    return rows.T @ (x @ columns)


def _triangle(like: Tensor, before: int, after: int) -> Tensor:
    """What each of `before` pixels gives to each of `after`, (before, after)."""
    ratio = before / after
    pixels = torch.arange(-1, before + 1, device=like.device)  # and one beyond each edge
    centres = (torch.arange(after, device=like.device) + 0.5) * ratio - 0.5
    reach = max(ratio, 1.0)
    weights = (1 - (pixels[:, None] - centres).abs() / reach).relu() / reach
    inner = weights[1:-1].clone()
    inner[0] += weights[0]
    inner[-1] += weights[-1]
    return inner.to(like.dtype)
