"""The mapping network: latent and global text to a style.

Source: w = M(z, t_global), GigaGAN (arXiv 2303.05511, section 3.2), after StyleGAN's (arXiv 1812.04948).
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MEAN_STYLES = 64
"""Latents whose mean style a truncated image is drawn towards."""


class MappingNetwork(nn.Module):
    """Fully connected layers with leaky rectifiers.

    Latent and text are brought to the same size before they are joined, so that neither is ignored.

    Args:
        latent_width: Z.
        text_width: D, of the global text; 0: there is no text.
        style_width: S.
        depth: layers.
    """

    def __init__(self, latent_width: int, text_width: int, style_width: int, depth: int = 4) -> None:
        super().__init__()
        self.latent_width, self.text_width = latent_width, text_width
        widths = [latent_width + text_width, *[style_width] * depth]
        self.layers = nn.ModuleList()
        for fan_in, fan_out in pairwise(widths):
            layer = nn.Linear(fan_in, fan_out)
            nn.init.kaiming_normal_(layer.weight, a=0.2)
            nn.init.zeros_(layer.bias)
            self.layers.append(layer)

    def forward(self, z: Tensor, text: Tensor | None) -> Tensor:
        """z (B, Z) and global text (B, D) to the style (B, S)."""
        x = unit(z)
        if text is not None:
            x = torch.cat([x, unit(text)], 1)
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
        return x

    def mean_style(self, text: Tensor | None, like: Tensor) -> Tensor:
        """The mean style (B, S) of each global text (B, D), over latents that are always the same.

        `like` (B, Z) gives their number, type and device.
        """
        generator = torch.Generator().manual_seed(0)
        z = torch.randn(MEAN_STYLES, self.latent_width, generator=generator).to(like)
        if text is None:
            return self(z, None).mean(0, keepdim=True).expand(len(like), -1)
        return torch.stack([self(z, row.expand(len(z), -1)).mean(0) for row in text])


def unit(x: Tensor) -> Tensor:
    """Rows (B, C) scaled to a mean square of 1."""
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)
