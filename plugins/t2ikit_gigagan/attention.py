"""L2 self-attention and text cross-attention for images.

Sources: L2 distance with tied query and key, so that attention is Lipschitz: arXiv 2006.04710 (section 3.2);
its use with text cross-attention in a GAN: GigaGAN, arXiv 2303.05511 (section 3.1).

Letters: B batch, C channels, H W image, L tokens, D text width, h heads, d channels a head.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t2ikit import UserError
from t2ikit_gigagan.precision import at_least_float


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, *, fused: bool) -> Tensor:
    """softmax(q k^T + bias) v for (B, h, L, d); `fused` is faster but has no double backward."""
    if fused:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=1.0)
    logits = q @ k.transpose(-2, -1)
    if bias is not None:
        logits = logits + bias
    return at_least_float(logits).softmax(-1).to(v.dtype) @ v


def l2_attend(shared: Tensor, v: Tensor, scale: float, *, fused: bool) -> Tensor:
    """Attention with logits -scale |q_i - k_j|^2 where q = k = `shared` (B, h, L, d), values v (B, h, L, d).

    |q_i|^2 is the same for every j and cancels in the softmax: what is left is dot-product attention with
    the bias -scale |k_j|^2. Fused kernels take no bias that has a gradient, so there it is one more entry of
    every key, beside a 1 in every query; zeros fill the entries up to a multiple of 8, as those kernels want.
    """
    square = -scale * at_least_float(shared).square().sum(-1, keepdim=True)  # (B, h, L, 1)
    if not fused:
        return attend(2 * scale * shared, shared, v, square.transpose(-2, -1), fused=False)
    width = v.shape[-1]
    room = -(width + 1) % 8
    query = torch.cat([2 * scale * shared, torch.ones_like(shared[..., :1])], -1)
    key = torch.cat([shared, square.to(shared.dtype)], -1)
    wide = attend(F.pad(query, (0, room)), F.pad(key, (0, room)), F.pad(v, (0, room + 1)), None, fused=True)
    return wide[..., :width]


class L2SelfAttention(nn.Module):
    """Self-attention over the pixels by L2 distance, added to its input.

    At initialisation the logits' spread over an image is about 1 and the gain of the branch is small, so
    that no pixel sees itself alone and nothing explodes.

    Args:
        channels: C, a multiple of `head_width`.
        head_width: d.
        double_backward: whether gradients of gradients are needed (R1 on a critic).
    """

    def __init__(self, channels: int, head_width: int = 64, *, double_backward: bool = False) -> None:
        super().__init__()
        self.heads, self.head_width = _heads(channels, head_width), head_width
        self.fused = not double_backward
        self.scale = 1 / math.sqrt(8 * head_width)  # |q - k|^2 of unit normal q, k has variance 8 d
        self.norm = nn.GroupNorm(1, channels)
        self.shared = nn.Linear(channels, channels, bias=False)
        self.value = nn.Linear(channels, channels, bias=False)
        self.out = nn.Linear(channels, channels)
        nn.init.normal_(self.shared.weight, std=1 / math.sqrt(channels))
        nn.init.normal_(self.out.weight, std=0.1 / math.sqrt(channels))
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        B, C, H, W = x.shape
        pixels = self.norm(x).flatten(2).transpose(1, 2)  # (B, H W, C)
        shared, value = (_split(part(pixels), self.heads) for part in (self.shared, self.value))
        seen = l2_attend(shared, value, self.scale, fused=self.fused)
        return x + self.out(_join(seen)).transpose(1, 2).view(B, C, H, W)


class TextCrossAttention(nn.Module):
    """Pixels look at the tokens of their own text; added to its input.

    Args:
        channels: C, a multiple of `head_width`.
        text_width: D.
        head_width: d.
    """

    def __init__(self, channels: int, text_width: int, head_width: int = 64) -> None:
        super().__init__()
        self.heads, self.head_width = _heads(channels, head_width), head_width
        self.text_width = text_width
        self.norm = nn.GroupNorm(1, channels)
        self.query = nn.Linear(channels, channels, bias=False)
        self.key_value = nn.Linear(text_width, 2 * channels, bias=False)
        self.out = nn.Linear(channels, channels)
        nn.init.normal_(self.out.weight, std=0.1 / math.sqrt(channels))
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """(B, C, H, W), tokens (B, L, D) and mask (B, L), true where real, to (B, C, H, W)."""
        B, C, H, W = x.shape
        if tokens.shape[0] != B or tokens.shape[2] != self.text_width or mask.shape != tokens.shape[:2]:
            raise UserError(
                "text cross-attention: images and texts do not fit together",
                expected=f"tokens ({B}, L, {self.text_width}) and mask ({B}, L)",
                got=f"tokens {tuple(tokens.shape)} and mask {tuple(mask.shape)}",
                fix="give one text for each image",
            )
        query = _split(self.query(self.norm(x).flatten(2).transpose(1, 2)), self.heads)
        key, value = (_split(part, self.heads) for part in self.key_value(tokens).chunk(2, -1))
        bias = torch.zeros(mask.shape, dtype=query.dtype, device=x.device)
        bias = bias.masked_fill(~mask, -math.inf)[:, None, None].expand(-1, 1, H * W, -1)
        seen = attend(query / math.sqrt(self.head_width), key, value, bias, fused=True)
        return x + self.out(_join(seen)).transpose(1, 2).view(B, C, H, W)


def _heads(channels: int, head_width: int) -> int:
    if channels % head_width:
        raise UserError(
            f"attention: {channels} channels cannot be divided into heads",
            expected=f"a multiple of head_width {head_width}",
            got=channels,
            fix="change the channels or head_width",
        )
    return channels // head_width


def _split(x: Tensor, heads: int) -> Tensor:
    """(B, L, h d) to (B, h, L, d)."""
    return x.unflatten(2, (heads, -1)).transpose(1, 2)


def _join(x: Tensor) -> Tensor:
    """(B, h, L, d) to (B, L, h d)."""
    return x.transpose(1, 2).flatten(2)
