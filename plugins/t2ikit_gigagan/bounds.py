"""What keeps a generator's images in range.

The sums of RGB have none, and a critic pays more heed to pixels out of range than to shapes.
"""

from __future__ import annotations

import torch
from torch import Tensor

REACH = 1.1
"""About the farthest from 0 that a pixel gets: a little beyond an image, so that white is reached."""
SLOPE = 1e-3
"""What the bound still rises by beyond REACH. In float32 a tanh is flat from 10 on, and a generator that
draws nothing but white would never learn again."""
INSIDE = 0.99
"""Share of REACH to which given images are cut, so that their sums are finite."""


def bounded(sums: Tensor) -> Tensor:
    """Sums of RGB to pixels: REACH tanh(s / REACH) + SLOPE s."""
    return REACH * torch.tanh(sums / REACH) + SLOPE * sums


def sums_of(images: Tensor) -> Tensor:
    """Sums of which `bounded` makes the same images in [-1, 1], within 1e-4."""
    sums = torch.zeros_like(images)
    for _ in range(3):
        sums = REACH * torch.atanh(((images - SLOPE * sums) / REACH).clamp(-INSIDE, INSIDE))
    return sums
