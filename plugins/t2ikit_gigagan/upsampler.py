"""The GAN that upscales images: a U-Net whose way up is the generator's, with filter banks.

Source: GigaGAN (arXiv 2303.05511, section 3.4): an asymmetric U-Net, down from the small image and up
beyond it, with noise on the low-resolution image and a perceptual loss.
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
    NoiseLevelEmbedding,
    OneStep,
    Prediction,
    SuperResolution,
    TextEmbedding,
    TextTower,
    UserError,
    exclude_from_muon,
    prepare_low_res,
    upscale,
)
from t2ikit_gigagan.bounds import bounded, sums_of
from t2ikit_gigagan.configs import UpsamplerConfig
from t2ikit_gigagan.generator import SynthesisBlock
from t2ikit_gigagan.mapping import MappingNetwork
from t2ikit_gigagan.resampling import upsample


class EncoderBlock(nn.Module):
    """A convolution, then one of stride 2."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(in_channels, in_channels, 3, padding=1)
        self.second = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to (B, C', h / 2, w / 2)."""
        x = F.leaky_relu(self.first(x), 0.2) * math.sqrt(2)
        return F.leaky_relu(self.second(x), 0.2) * math.sqrt(2)


class GigaUpsampler(OneStep):
    """A small image, a text and a latent to an image 2 or 4 times the size, in one call.

    Args:
        config: its options.
        image_size: of what it draws, pixels.
        text_width, text_length: D and L of the frozen text encoder.
        image_channels: C of the images.

    Raises:
        UserError: levels that do not fit the size.
    """

    super_resolution: SuperResolution

    def __init__(
        self,
        config: UpsamplerConfig,
        image_size: int,
        text_width: int,
        text_length: int,
        image_channels: int = 3,
    ) -> None:
        super().__init__()
        channels, self.image_channels = config.channels, image_channels
        check_sizes(image_size, config.ratio, config.crop, channels, config.filters, config.attention)
        self.image_size, self.checkpointing = image_size, config.checkpointing
        self.super_resolution = SuperResolution(config.ratio, config.crop, config.augmentation)
        self.downs = len(channels) - 1 - int(math.log2(config.ratio))
        self.tower = TextTower(text_width, text_length, config.tower_width, config.tower_layers)
        self.level_embedding = NoiseLevelEmbedding(config.tower_width)
        self.mapping = MappingNetwork(
            config.latent_width, config.tower_width, config.style_width, config.mapping_layers
        )
        self.inward = nn.Conv2d(image_channels, channels[self.downs], 3, padding=1)
        exclude_from_muon(self.inward.weight)
        self.encoder = nn.ModuleList(
            EncoderBlock(channels[level], channels[level - 1]) for level in range(self.downs, 0, -1)
        )
        beside = [width if 1 <= level <= self.downs else 0 for level, width in enumerate(channels)]
        blocks = [
            SynthesisBlock(
                channels[max(level - 1, 0)] + beside[level],
                width,
                style_width=config.style_width,
                text_width=config.tower_width,
                filters=config.filters[level],
                head_width=config.head_width if config.attention[level] else 0,
                text=True,
                image_channels=image_channels if level >= self.downs else 0,
            )
            for level, width in enumerate(channels)
        ]
        for head in (block.to_rgb for block in blocks if block.to_rgb is not None):
            nn.init.zeros_(head.bank)
        self.blocks = nn.ModuleList(blocks)

    def forward(self, batch: Batch, draws: Draws) -> Prediction:
        """Upscale the batch's low-resolution images, with noise of a random level."""
        size = self._small_size(batch.condition)
        images = self.generate(self.super_resolution.augmented(batch.condition, size, draws), draws)
        return Prediction(images, torch.ones(len(batch), device=images[-1].device))

    def generate(self, condition: Condition, draws: Draws, truncation: float = 1.0) -> list[Tensor]:
        """One level: images (B, 3, H, W), about in [-1, 1] (`bounds`).

        `truncation` in [0, 1] draws the style towards the mean style of the same text.
        """
        small, level = prepare_low_res(condition, self._small_size(condition))
        text = self.tower(condition.text)
        pooled = text.pooled + self.level_embedding(level, text.pooled)
        z = draws.randn(self.mapping.latent_width)
        style = self.mapping(z, pooled)
        if truncation < 1:
            style = torch.lerp(self.mapping.mean_style(pooled, z), style, truncation)
        return [self.synthesise(small, style, text)]

    def _small_size(self, condition: Condition) -> tuple[int, int]:
        if condition.low_res is None:
            raise UserError(
                "this generator upscales images, and was given none",
                expected="a condition with low_res (B, 3, h, w)",
                got="low_res None",
                fix="sample it with --upscale after a base run",
            )
        return condition.low_res.shape[-2], condition.low_res.shape[-1]

    def synthesise(self, small: Tensor, style: Tensor, text: TextEmbedding) -> Tensor:
        """Small images (B, 3, h, w), style (B, S) and the tower's text to images (B, 3, H, W).

        What the network makes is added to the upscaled image under the bound, and at first it makes
        nothing: training begins with bicubic interpolation. Its overshoot beyond [-1, 1] is clipped, for
        there the bound is too flat to learn from.
        """
        seen = [F.leaky_relu(self.inward(small), 0.2) * math.sqrt(2)]
        for block in self.encoder:
            seen.append(block(seen[-1]))
        x, image = seen[-1], None
        for level, block in enumerate(self.blocks):
            if level:
                x = upsample(x)
            if 1 <= level <= self.downs:
                x = torch.cat([x, seen[self.downs - level]], 1)
            if self.checkpointing and torch.is_grad_enabled():
                x, rgb = checkpoint(block, x, style, text, use_reentrant=False)
            else:
                x, rgb = block(x, style, text)
            if rgb is not None:
                image = rgb.float() if image is None else upsample(image) + rgb.float()
        assert image is not None
        upscaled = upscale(small, (image.shape[-2], image.shape[-1])).clamp(-1, 1)
        return bounded(sums_of(upscaled) + image)


def check_sizes(image_size: int, ratio: int, crop: int, *levels: tuple[object, ...]) -> None:
    """Refuse options whose levels do not reach the small image, or do not fit the size.

    Raises:
        UserError: so it is.
    """
    count = len(levels[0])
    step = 2 ** (count - 1)
    if any(len(values) != count for values in levels):
        raise UserError(
            "generator: channels, filters and attention must have one entry for each level",
            expected=f"{count} entries, as generator.channels has",
            got=", ".join(str(len(values)) for values in levels),
            fix="give the entries of each level, from the coarsest",
        )
    if count - 1 < math.log2(ratio):
        raise UserError(
            f"generator.channels: {count} levels do not reach {ratio} times the size of a small image",
            expected=f"at least {int(math.log2(ratio)) + 1} levels",
            got=count,
            fix="add levels",
        )
    for name, side in (("data.size", image_size), ("generator.crop", crop)):
        if side % step or side > image_size:
            raise UserError(
                f"{name}: {side} pixels cannot be halved {count - 1} times, or exceed data.size",
                expected=f"a multiple of {step}, at most data.size",
                got=side,
                fix=f"--set {name}={max(step, min(side, image_size) // step * step):d}",
            )
