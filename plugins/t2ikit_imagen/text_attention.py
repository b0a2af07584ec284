"""Attention of pixels to the text alone, in the place of diffusers' for levels without self-attention.

Where `only_cross_attention` is set, diffusers' processor pads the text's mask as if pixels stood beside the
text, and fails.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from torch import Tensor


class TextAttention:
    """A processor for `Attention` with added keys and values, of which it uses those of the text."""

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        **options: Any,
    ) -> Tensor:
        """Pixels (B, C, h, w) and text (B, L, D) to (B, C, h, w); `attention_mask` (B, 1, L) is added."""
        B, C, h, w = hidden_states.shape
        pixels = attn.group_norm(hidden_states.flatten(2)).transpose(1, 2)  # (B, h w, C)
        query, key, value = (
            part.unflatten(2, (attn.heads, -1)).transpose(1, 2)  # (B, heads, h w or L, C / heads)
            for part in (
                attn.to_q(pixels),
                attn.add_k_proj(encoder_hidden_states),
                attn.add_v_proj(encoder_hidden_states),
            )
        )
        mask = None if attention_mask is None else attention_mask[:, None].to(query.dtype)
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        out = attn.to_out[0](seen.transpose(1, 2).flatten(2))  # (B, h w, C)
        return out.transpose(1, 2).reshape(B, C, h, w) + hidden_states


def look_at_text_alone(unet: UNet2DConditionModel) -> None:
    """Give every attention of a U-Net this processor."""
    unet.set_attn_processor(TextAttention())
