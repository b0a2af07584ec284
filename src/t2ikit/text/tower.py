"""The trainable text tower: a small transformer on top of a frozen encoder's tokens.

Source: the learned text network T of GigaGAN (arXiv 2303.05511, section 3.2), which turns frozen CLIP
tokens into tokens that the picture network can use.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from t2ikit.batch import TextEmbedding
from t2ikit.errors import UserError


class TextTower(nn.Module):
    """Transformer encoder over frozen tokens.

    Args:
        text_width, text_length: D and L of the frozen encoder.
        width: of the tokens it gives.
        depth: number of layers.
        heads: attention heads a layer; must divide `width`.
    """

    def __init__(self, text_width: int, text_length: int, width: int, depth: int = 2, heads: int = 4) -> None:
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
        self.positions = nn.Parameter(torch.randn(text_length, width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, depth, nn.LayerNorm(width), enable_nested_tensor=False)

    def forward(self, text: TextEmbedding) -> TextEmbedding:
        """Tokens (B, L, D) to tokens (B, L, width); `pooled` is their mean over real tokens."""
        x = self.project(text.tokens) + self.positions[: text.tokens.shape[1]]  # (B, L, width)
        x = self.layers(x, src_key_padding_mask=~text.mask)
        return TextEmbedding(x, text.mask, masked_mean(x, text.mask))


def masked_mean(tokens: Tensor, mask: Tensor) -> Tensor:
    """Mean over the tokens (B, L, D) that `mask` (B, L) marks as real, (B, D)."""
    weight = mask[..., None].to(tokens.dtype)
    return (tokens * weight).sum(1) / weight.sum(1).clamp_min(1)
