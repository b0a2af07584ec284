"""The U-Net: a factory over diffusers' UNet2DConditionModel.

Source: Imagen (arXiv 2205.11487, section 2.4 and appendix B): text tokens by cross-attention beside
self-attention, pooled text added to the time embedding, scale-shift residual blocks.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from torch import Tensor

from t2ikit import UserError
from t2ikit_imagen.configs import UNetConfig
from t2ikit_imagen.text_attention import look_at_text_alone

PLAIN = {
    "conv": ("DownBlock2D", "UpBlock2D"),
    "resnet": ("ResnetDownsampleBlock2D", "ResnetUpsampleBlock2D"),
}
"""Blocks without attention, down and up, by `resampling`."""


def build_unet(
    config: UNetConfig, image_size: int, images: int = 0, text: int = 0, channels: int = 3
) -> UNet2DConditionModel:
    """The U-Net for images of `image_size` pixels, over pixels folded by `config.patch`.

    Args:
        config: its options.
        image_size: height and width, pixels.
        images: how many more images of as many pixels it takes beside the noisy one.
        text: width of a text encoder's tokens, which it projects itself, without pooled text; 0: it takes
            tokens of `config.text_width` and pooled text.
        channels: of an image.

    Raises:
        UserError: sizes that do not divide.
    """
    _check(config, image_size)
    plain_down, plain_up = PLAIN[config.resampling]
    down = ["SimpleCrossAttnDownBlock2D" if attends else plain_down for attends in config.attention]
    up = ["SimpleCrossAttnUpBlock2D" if attends else plain_up for attends in config.attention]
    folded = channels * config.patch**2
    unet = UNet2DConditionModel(
        sample_size=image_size // config.patch,
        in_channels=folded * (1 + images),
        out_channels=folded,
        block_out_channels=config.channels,
        layers_per_block=config.layers if isinstance(config.layers, int) else list(config.layers),
        down_block_types=tuple(down),
        up_block_types=tuple(reversed(up)),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        only_cross_attention=not config.self_attention,
        mid_block_only_cross_attention=not config.self_attention,
        attention_head_dim=tuple(head_widths(config)),
        cross_attention_dim=config.text_width,
        time_embedding_dim=config.time_width or None,
        **(_projected(text) if text else _with_pooled(config)),
        resnet_time_scale_shift="scale_shift",
        norm_num_groups=config.groups,
    )
    if not config.self_attention:
        look_at_text_alone(unet)
    if config.resampling == "conv":
        _resample_by_convolution(unet)
    if config.channels_last:
        unet.to(memory_format=torch.channels_last)
    if config.checkpointing:
        unet.enable_gradient_checkpointing()
    return unet


def _with_pooled(config: UNetConfig) -> dict[str, Any]:
    """Pooled text goes through two layers of its own into the time embedding."""
    return {
        "class_embed_type": "projection",
        "projection_class_embeddings_input_dim": config.text_width,
    }


def _projected(text: int) -> dict[str, Any]:
    """Tokens are brought to the width of attention inside, as in DeepFloyd IF."""
    return {"encoder_hid_dim": text, "encoder_hid_dim_type": "text_proj"}


class ConvUpsample(Upsample2D):
    """Nearest neighbour and a convolution, where diffusers would have a residual block."""

    def forward(self, hidden_states: Tensor, temb: Tensor | None = None) -> Tensor:
        """(B, C, h, w) to (B, C, 2h, 2w); the time embedding is not used."""
        return super().forward(hidden_states)


class ConvDownsample(Downsample2D):
    """A convolution of stride 2, where diffusers would have a residual block."""

    def forward(self, hidden_states: Tensor, temb: Tensor | None = None) -> Tensor:
        """(B, C, h, w) to (B, C, h/2, w/2); the time embedding is not used."""
        return super().forward(hidden_states)


def _resample_by_convolution(unet: UNet2DConditionModel) -> None:
    """Replace the residual blocks that resample, a third of the FLOPs, by what the paper's U-Net has.

    On the way up the convolution also goes to the next level's width, so that what meets the skip
    connections there is as wide as they are.
    """
    for block in unet.down_blocks:
        for place, old in enumerate(block.downsamplers or []):
            if isinstance(old, ResnetBlock2D):
                block.downsamplers[place] = ConvDownsample(old.in_channels, True, old.out_channels)
    for block, following in itertools.pairwise(unet.up_blocks):
        wide, narrow = block.resnets[-1].out_channels, following.resnets[0].out_channels
        block.upsamplers[0] = ConvUpsample(wide, True, out_channels=narrow)
        following.resnets[0] = _with_inputs(following.resnets[0], wide - narrow)


def _with_inputs(block: ResnetBlock2D, fewer: int) -> ResnetBlock2D:
    """The same residual block, anew, for `fewer` channels less."""
    return ResnetBlock2D(
        in_channels=block.in_channels - fewer,
        out_channels=block.out_channels,
        temb_channels=block.time_emb_proj.in_features,
        groups=block.norm1.num_groups,
        eps=block.norm1.eps,
        time_embedding_norm=block.time_embedding_norm,
        output_scale_factor=block.output_scale_factor,
    )


def head_widths(config: UNetConfig) -> list[int]:
    """Channels of an attention head, in the order that UNet2DConditionModel wants.

    It takes entry l for level l on the way down and, unlike every other option, for level n - 1 - l on the
    way up.

    Raises:
        UserError: `config.heads` asks for two widths in one place.
    """
    if not config.heads:
        return [config.head_width] * len(config.channels)
    widths = [0] * len(config.channels)
    levels = [level for level, attends in enumerate(config.attention) if attends]
    for level in {*levels, len(widths) - 1}:  # the middle attends, too
        for place in {level, len(widths) - 1 - level} if level in levels else {level}:
            width = config.channels[level] // config.heads
            if widths[place] not in (0, width):
                raise UserError(
                    "generator.heads: levels as far from the first as from the last cannot both attend",
                    expected="as many channels in both, or attention in one of them",
                    got=f"channels {list(config.channels)}, attention {list(config.attention)}",
                    fix="--set generator.heads=0, and choose generator.head_width",
                )
            widths[place] = width
    return [width or 1 for width in widths]


def _check(config: UNetConfig, image_size: int) -> None:
    step = config.patch * 2 ** (len(config.channels) - 1)
    if image_size % step:
        raise UserError(
            f"data.size: {image_size} pixels cannot be halved {len(config.channels) - 1} times after folding",
            expected=f"a multiple of {step} (generator.patch {config.patch}, {len(config.channels)} levels)",
            got=image_size,
            fix=f"--set data.size={max(step, image_size // step * step):d}",
        )
    if len(config.attention) != len(config.channels):
        raise UserError(
            "generator.attention: there must be one entry for each level",
            expected=f"{len(config.channels)} entries, as generator.channels has",
            got=len(config.attention),
            fix="give true or false for each level, from the finest",
        )
    if not isinstance(config.layers, int) and len(config.layers) != len(config.channels):
        raise UserError(
            "generator.layers: there must be one entry for each level, or one number",
            expected=f"{len(config.channels)} entries, as generator.channels has",
            got=len(config.layers),
            fix="give the residual blocks of each level, from the finest",
        )
    for level, (channels, attends) in enumerate(zip(config.channels, config.attention, strict=True)):
        attention = attends or level == len(config.channels) - 1  # the middle attends, too
        heads = ("heads", config.heads) if config.heads else ("head_width", config.head_width)
        for name, divisor in (("groups", config.groups), *([heads] if attention else [])):
            if channels % divisor:
                raise UserError(
                    f"generator.channels: {channels} channels cannot be divided by generator.{name}",
                    expected=f"multiples of {divisor}",
                    got=list(config.channels),
                    fix=f"change generator.channels or --set generator.{name}=...",
                )
