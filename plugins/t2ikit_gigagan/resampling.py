"""Halving and doubling of pictures without aliasing.

Source: the binomial low-pass filter of StyleGAN2 (arXiv 1912.04958) and of arXiv 1904.11486.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

TAPS = (1.0, 3.0, 3.0, 1.0)


def _filter(x: Tensor, gain: float) -> Tensor:
    """The filter as a depthwise kernel (C, 1, 4, 4) that sums to `gain`."""
    taps = torch.tensor(TAPS, dtype=x.dtype, device=x.device)
    kernel = taps[:, None] * taps
    return (kernel * (gain / kernel.sum())).expand(x.shape[1], 1, -1, -1)


def upsample(x: Tensor) -> Tensor:
    """(B, C, H, W) to (B, C, 2 H, 2 W): zeros between the pixels, then the filter; edges repeat."""
    C = x.shape[1]
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    return F.conv_transpose2d(padded, _filter(x, 4.0), stride=2, padding=3, groups=C)


def downsample(x: Tensor) -> Tensor:
    """(B, C, 2 H, 2 W) to (B, C, H, W): the filter, then every second pixel; edges repeat."""
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    return F.conv2d(padded, _filter(x, 1.0), stride=2, groups=x.shape[1])
