"""The U-Net: a factory over diffusers' UNet2DConditionModel.

Source: Imagen (arXiv 2205.11487, section 2.4 and appendix B): text tokens by cross-attention beside
self-attention, pooled text added to the time embedding, scale-shift residual blocks.
"""

from __future__ import annotations

from diffusers import UNet2DConditionModel

from t2ikit import UserError
from t2ikit_imagen.configs import UNetConfig


def build_unet(config: UNetConfig, image_size: int) -> UNet2DConditionModel:
    """The U-Net for pictures of `image_size` pixels, over pixels folded by `config.patch`.

    Raises:
        UserError: sizes that do not divide.
    """
    _check(config, image_size)
    down = [
        "SimpleCrossAttnDownBlock2D" if attends else "ResnetDownsampleBlock2D" for attends in config.attention
    ]
    up = ["SimpleCrossAttnUpBlock2D" if attends else "ResnetUpsampleBlock2D" for attends in config.attention]
    folded = 3 * config.patch**2
    unet = UNet2DConditionModel(
        sample_size=image_size // config.patch,
        in_channels=folded * (2 if config.self_conditioning else 1),
        out_channels=folded,
        block_out_channels=config.channels,
        layers_per_block=config.layers,
        down_block_types=tuple(down),
        up_block_types=tuple(reversed(up)),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        only_cross_attention=False,
        mid_block_only_cross_attention=False,
        attention_head_dim=config.head_width,
        cross_attention_dim=config.text_width,
        time_cond_proj_dim=config.text_width,
        resnet_time_scale_shift="scale_shift",
        norm_num_groups=config.groups,
    )
    if config.checkpointing:
        unet.enable_gradient_checkpointing()
    return unet


def _check(config: UNetConfig, image_size: int) -> None:
    step = config.patch * 2 ** (len(config.channels) - 1)
    if image_size % step:
        raise UserError(
            f"data.size: {image_size} pixels cannot be halved {len(config.channels) - 1} times after folding",
            expected=f"a multiple of {step} (generator.patch {config.patch}, {len(config.channels)} levels)",
            got=image_size,
            fix=f"--set data.size={max(step, image_size // step * step)}",
        )
    if len(config.attention) != len(config.channels):
        raise UserError(
            "generator.attention: there must be one entry for each level",
            expected=f"{len(config.channels)} entries, as generator.channels has",
            got=len(config.attention),
            fix="give true or false for each level, from the finest",
        )
    for level, (channels, attends) in enumerate(zip(config.channels, config.attention, strict=True)):
        head = config.head_width if attends or level == len(config.channels) - 1 else 1
        for name, divisor in (("groups", config.groups), ("head_width", head)):
            if channels % divisor:
                raise UserError(
                    f"generator.channels: {channels} channels cannot be divided by generator.{name}",
                    expected=f"multiples of {divisor}",
                    got=list(config.channels),
                    fix=f"change generator.channels or --set generator.{name}=...",
                )
