"""The trainable text tower: a small network on top of a frozen encoder's tokens.

Sources: the learned text network T of GigaGAN (arXiv 2303.05511, section 3.2), which turns frozen CLIP
tokens into tokens that the image network can use; convolution before attention, Conformer (arXiv
2005.08100). The convolution binds neighbours ("red eyes", "green cat") within a few hundred steps, which
attention alone takes thousands to learn.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t2ikit.core.batch import TextEmbedding
from t2ikit.errors import UserError
from t2ikit.nn.muon import exclude_from_muon


class TextTower(nn.Module):
    """Convolutions over neighbouring tokens, then a transformer encoder.

    Args:
        text_width, text_length: D and L of the frozen encoder.
        width: of the tokens it gives.
        depth: number of transformer layers; 0: none.
        heads: attention heads a layer; must divide `width`.
        kernel: tokens that a convolution sees at once, odd.
    """

    def __init__(
        self,
        text_width: int,
        text_length: int,
        width: int,
        depth: int = 2,
        heads: int = 4,
        kernel: int = 3,
    ) -> None:
        super().__init__()
        if width % heads:
            raise UserError(
                f"text tower: width {width} is not divisible by heads {heads}",
                expected="a width that is a multiple of the number of heads",
                got=f"width {width}, heads {heads}",
                fix="change one of the two",
            )
        self.width = width
        self.project = nn.Linear(text_width, width)
        self.widen = nn.Conv1d(width, 2 * width, kernel, padding="same")
        self.narrow = nn.Conv1d(2 * width, width, kernel, padding="same")
        self.positions = nn.Parameter(torch.randn(text_length, width) * 0.02)
        exclude_from_muon(self.positions)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, text: TextEmbedding) -> TextEmbedding:
        """Tokens (B, L, D) to tokens (B, L, width); `pooled` is their `masked_pool`."""
        real = text.mask[..., None].to(text.tokens.dtype)  # padding must not reach its neighbours
        x = self.project(text.tokens) * real  # (B, L, width)
        wide = F.gelu(self.widen(x.transpose(1, 2))) * real.transpose(1, 2)  # (B, 2 width, L)
        x = x + self.narrow(wide).transpose(1, 2) + self.positions[: x.shape[1]]
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=~text.mask)
        x = self.norm(x)
        return TextEmbedding(x, text.mask, masked_pool(x, text.mask))


def masked_pool(tokens: Tensor, mask: Tensor) -> Tensor:
    """Sum over the real tokens of (B, L, D) by the root of their number, (B, D): as large as one token is."""
    weight = mask[..., None].to(tokens.dtype)
    return (tokens * weight).sum(1) / weight.sum(1).clamp_min(1).sqrt()
