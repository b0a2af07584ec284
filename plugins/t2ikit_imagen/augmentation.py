"""Augmentation that does not leak: the U-Net is told how each training image was changed.

Source: Karras et al., arXiv 2206.00364 (appendix F.2): geometric changes, each applied with a small
probability, their parameters given to the network; at sampling the parameters are 0, which is "unchanged".
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from t2ikit import Draws

LABELS = 6
"""Numbers that describe the change: flip, log2 of the scale, cos and sin of the angle less 1 and 0, shift in
x and y (in half images)."""


def augment(images: Tensor, chance: float, draws: Draws) -> tuple[Tensor, Tensor]:
    """Flip, scale, turn and shift images (B, C, H, W), each with probability `chance`.

    Images are continued beyond their edges by reflection.

    Returns:
        The changed images, and labels (B, LABELS), all 0 for an image that was left alone.
    """
    applied = (draws.rand(4) < chance).float()  # (B, 4): flip, scale, turn, shift
    normal = draws.randn(3)  # (B, 3)
    flip = applied[:, 0]
    size = 0.2 * normal[:, 0] * applied[:, 1]  # log2 of the scale
    angle = (draws.rand() * 2 - 1) * math.pi * applied[:, 2]
    shift = 0.125 * normal[:, 1:] * applied[:, 3:]  # (B, 2)
    grow = torch.exp2(-size)  # from places in the result to places in the source
    cos, sin, side = angle.cos() * grow, angle.sin() * grow, 1 - 2 * flip
    wide = images.shape[-1] / images.shape[-2]  # places are shares of width and of height
    rows = [
        torch.stack([side * cos, -side * sin / wide, -side * shift[:, 0]], 1),
        torch.stack([sin * wide, cos, -shift[:, 1]], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    changed = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    untouched = (applied.sum(1) == 0)[:, None, None, None]
    labels = torch.stack([flip, size, angle.cos() - 1, angle.sin(), *shift.unbind(1)], 1)
    return torch.where(untouched, images, changed), labels
