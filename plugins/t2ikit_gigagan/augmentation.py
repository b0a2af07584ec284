"""Differentiable augmentation, shared by real and fake images.

Source: DiffAugment (arXiv 2006.10738): colour, translation, cutout; scale beside.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from t2ikit import Draws


class DiffAugment:
    """Changes every image at random; all levels of a sample the same way.

    Geometry is a product with one matrix of linear interpolation weights for each axis, which, unlike
    `grid_sample`, has gradients of gradients: R1 passes through.

    Args:
        translation: greatest shift, as a share of the side; what is shifted in repeats the edge.
        scale: greatest change of size, as a share: 0.1 is 0.9 to 1.1 times.
        cutout: side of a grey square, as a share of the side.
        brightness: greatest shift of all channels, in units of [-1, 1].
        saturation, contrast: greatest change of the distance from grey, from the mean, as a share.
    """

    def __init__(
        self,
        translation: float = 0.0,
        scale: float = 0.0,
        cutout: float = 0.0,
        brightness: float = 0.0,
        saturation: float = 0.0,
        contrast: float = 0.0,
    ) -> None:
        self.translation, self.scale, self.cutout = translation, scale, cutout
        self.brightness, self.saturation, self.contrast = brightness, saturation, contrast

    def __call__(self, levels: Sequence[Tensor], draws: Draws) -> list[Tensor]:
        """Images (B, 3, h, w) at every level to the same, changed."""
        draws = draws.named("augment")
        u = 2 * draws.rand(8) - 1  # (B, 8) in [-1, 1)
        return [self._colour(self._place(level, u), u) for level in levels]

    def _colour(self, images: Tensor, u: Tensor) -> Tensor:
        """Changed colours; channels beyond the third, such as alpha, stay."""
        x, others = images[:, :3], images[:, 3:]
        u = u.to(x.dtype)[:, :, None, None, None]  # each (B, 1, 1, 1)
        if self.brightness:
            x = x + self.brightness * u[:, 3]
        if self.saturation:
            grey = x.mean(1, keepdim=True)
            x = grey + (x - grey) * (1 + self.saturation * u[:, 4])
        if self.contrast:
            mean = x.mean((1, 2, 3), keepdim=True)
            x = mean + (x - mean) * (1 + self.contrast * u[:, 5])
        return torch.cat([x, others], 1) if others.shape[1] else x

    def _place(self, x: Tensor, u: Tensor) -> Tensor:
        if self.translation or self.scale:
            zoom = 1 + self.scale * u[:, 0]
            rows = interpolation(x.shape[2], zoom, self.translation * u[:, 1]).to(x.dtype)
            columns = interpolation(x.shape[3], zoom, self.translation * u[:, 2]).to(x.dtype)
            x = rows[:, None] @ x @ columns[:, None].transpose(2, 3)
        if self.cutout:
            x = x * self._kept(x, u)
        return x

    def _kept(self, x: Tensor, u: Tensor) -> Tensor:
        """(B, 1, h, w): how much of each pixel is outside the square."""
        inside = [covered(x.shape[axis], 0.5 + 0.5 * u[:, axis + 4], self.cutout) for axis in (2, 3)]
        return (1 - inside[0][:, :, None] * inside[1][:, None, :])[:, None].to(x.dtype)


def interpolation(size: int, zoom: Tensor, shift: Tensor) -> Tensor:
    """Matrices (B, size, size) that upscale by `zoom` about the middle, then shift by shares of the side."""
    place = torch.arange(size, device=zoom.device) + 0.5  # pixel centres
    source = (place - size / 2 - shift[:, None] * size) / zoom[:, None] + size / 2  # (B, size)
    source = source.clamp(0.5, size - 0.5)
    return (1 - (source[:, :, None] - place).abs()).clamp_min(0)


def covered(size: int, middle: Tensor, width: float) -> Tensor:
    """(B, size): the share of each pixel within `width` around `middle`, both shares of the side."""
    start = torch.arange(size, device=middle.device) / size
    low, high = (middle - width / 2)[:, None], (middle + width / 2)[:, None]
    overlap = torch.minimum(high, start + 1 / size) - torch.maximum(low, start)
    return (overlap * size).clamp(0, 1)
