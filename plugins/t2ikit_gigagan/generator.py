"""The generator: a constant grows to an image, steered by a style and looking at the text.

Source: GigaGAN (arXiv 2303.05511, section 3.1 and 3.2): adaptive convolution, self-attention,
cross-attention at each level; RGB at every level; skip connections of StyleGAN2 (arXiv 1912.04958).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from t2ikit import (
    Batch,
    Condition,
    Draws,
    OneStep,
    Prediction,
    TextEmbedding,
    TextTower,
    UserError,
    exclude_from_muon,
)
from t2ikit_gigagan.attention import L2SelfAttention, TextCrossAttention
from t2ikit_gigagan.bounds import bounded
from t2ikit_gigagan.configs import GeneratorConfig
from t2ikit_gigagan.filter_bank import FilterBankConv2d
from t2ikit_gigagan.mapping import MappingNetwork
from t2ikit_gigagan.resampling import upsample


class SynthesisBlock(nn.Module):
    """Two adaptive convolutions, then the pixels look at each other and at the text.

    Args:
        in_channels, out_channels: C before and after.
        style_width: S.
        text_width: D.
        filters: kernels in each bank.
        head_width: channels of an attention head; 0: no attention at this level.
        text: whether attention looks at a text, too.
        text_only: whether it looks at nothing else.
        image_channels: of the image that it gives; 0: it gives none.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        style_width: int,
        text_width: int,
        filters: int,
        head_width: int,
        text: bool,
        text_only: bool = False,
        image_channels: int = 3,
    ) -> None:
        super().__init__()
        self.first = FilterBankConv2d(in_channels, out_channels, style_width=style_width, filters=filters)
        self.second = FilterBankConv2d(out_channels, out_channels, style_width=style_width, filters=filters)
        self.self_attention = (
            L2SelfAttention(out_channels, head_width) if head_width and not text_only else None
        )
        self.cross_attention = (
            TextCrossAttention(out_channels, text_width, head_width) if head_width and text else None
        )
        self.to_rgb = (
            FilterBankConv2d(out_channels, image_channels, 1, style_width=style_width, demodulate=False)
            if image_channels
            else None
        )

    def forward(self, x: Tensor, style: Tensor, text: TextEmbedding | None) -> tuple[Tensor, Tensor | None]:
        """(B, C, h, w) to features of as many pixels and their RGB (B, 3, h, w), if there is one."""
        x = F.leaky_relu(self.first(x, style), 0.2) * math.sqrt(2)
        x = F.leaky_relu(self.second(x, style), 0.2) * math.sqrt(2)
        if self.self_attention is not None:
            x = self.self_attention(x)
        if self.cross_attention is not None and text is not None:
            x = self.cross_attention(x, text.tokens, text.mask)
        return x, None if self.to_rgb is None else self.to_rgb(x, style)


class GigaGenerator(OneStep):
    """A latent and a text to a pyramid of images, 4 px to full size.

    Args:
        config: its options.
        image_size: of the last level, pixels: 4 times a power of 2.
        text_width, text_length: D and L of the frozen text encoder.
        image_channels: C of the images.

    Raises:
        UserError: levels that do not fit the size.
    """

    def __init__(
        self,
        config: GeneratorConfig,
        image_size: int,
        text_width: int,
        text_length: int,
        image_channels: int = 3,
    ) -> None:
        super().__init__()
        reads = (
            (config.text_attention or config.attention) if config.text else (False,) * len(config.channels)
        )
        lists = {"channels": config.channels, "filters": config.filters, "attention": config.attention}
        check_levels(image_size, **lists, text_attention=reads)
        self.image_size, self.image_channels = image_size, image_channels
        self.checkpointing, self.unconditional = config.checkpointing, not config.text
        self.tower = (
            TextTower(text_width, text_length, config.tower_width, config.tower_layers)
            if config.text
            else None
        )
        pooled_width = config.tower_width if config.text else 0
        self.mapping = MappingNetwork(
            config.latent_width, pooled_width, config.style_width, config.mapping_layers
        )
        self.start = nn.Parameter(torch.randn(1, config.channels[0], 4, 4))
        exclude_from_muon(self.start)
        widths = (config.channels[0], *config.channels)
        self.blocks = nn.ModuleList(
            SynthesisBlock(
                widths[level],
                width,
                style_width=config.style_width,
                text_width=config.tower_width,
                filters=config.filters[level],
                head_width=config.head_width if config.attention[level] or reads[level] else 0,
                text=reads[level],
                text_only=not config.attention[level],
                image_channels=image_channels,
            )
            for level, width in enumerate(config.channels)
        )

    def forward(self, batch: Batch, draws: Draws) -> Prediction:
        """A pyramid for each caption of the batch."""
        images = self.generate(batch.condition, draws)
        return Prediction(images, torch.ones(len(batch), device=images[-1].device))

    def generate(self, condition: Condition, draws: Draws, truncation: float = 1.0) -> list[Tensor]:
        """Images (B, 3, h, w) at 4 px, 8 px, ... full size, about in [-1, 1] (`bounds`).

        `truncation` in [0, 1] draws the style towards the mean style of the same text.
        """
        text = None if self.tower is None else self.tower(condition.text)
        pooled = None if text is None else text.pooled
        z = draws.randn(self.mapping.latent_width)
        style = self.mapping(z, pooled)
        if truncation < 1:
            style = torch.lerp(self.mapping.mean_style(pooled, z), style, truncation)
        return self.synthesise(style, text)

    def synthesise(self, style: Tensor, text: TextEmbedding | None) -> list[Tensor]:
        """Style (B, S) and the tower's text to images at every level, each bounded as it leaves."""
        x, image, images = self.start.expand(len(style), -1, -1, -1), None, []
        for block in self.blocks:
            if image is not None:
                x, image = upsample(x), upsample(image)
            if self.checkpointing and torch.is_grad_enabled():
                x, rgb = checkpoint(block, x, style, text, use_reentrant=False)
            else:
                x, rgb = block(x, style, text)
            image = rgb.float() if image is None else image + rgb.float()
            images.append(bounded(image))
        return images


def check_levels(image_size: int, **levels: tuple[object, ...]) -> None:
    """Refuse options that do not have one entry for each level from 4 px to `image_size`."""
    count = int(math.log2(max(image_size, 4) / 4)) + 1
    if image_size != 4 * 2 ** (count - 1):
        raise UserError(
            f"data.size: {image_size} pixels are not reached by doubling 4",
            expected="8, 16, 32, 64, 128, ...",
            got=image_size,
            fix=f"--set data.size={4 * 2**count:d}",
        )
    for name, values in levels.items():
        if len(values) != count:
            raise UserError(
                f"{name}: there must be one entry for each level from 4 to {image_size} pixels",
                expected=f"{count} entries",
                got=f"{len(values)}: {list(values)}",
                fix="change them together with data.size",
            )
