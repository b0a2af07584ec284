"""The super-resolution denoiser: it sees the upscaled image beside the noisy one, and is told its noise.

Source: Imagen (arXiv 2205.11487, sections 2.4 and 2.5, appendix B): noise conditioning augmentation and the
efficient U-Net, most of whose parameters are at the lowest level and which attends there alone; trained on
crops, it samples whole images.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from t2ikit import (
    Batch,
    Condition,
    Draws,
    NoiseLevelEmbedding,
    Prediction,
    SuperResolution,
    UserError,
    prepare_low_res,
)
from t2ikit_imagen.configs import SuperResolutionConfig
from t2ikit_imagen.denoiser import ImagenDenoiser

TINTED = 8
"""Side of the squares whose mean colour is kept, pixels."""


def tints(images: Tensor) -> Tensor:
    """Images (B, 3, H, W) of the means of squares of TINTED pixels, with soft borders."""
    height, width = images.shape[-2:]
    means = F.adaptive_avg_pool2d(images, (max(1, height // TINTED), max(1, width // TINTED)))
    return F.interpolate(means, size=(height, width), mode="bilinear", align_corners=False)


class ImagenUpsampler(ImagenDenoiser):
    """A text-conditional denoiser of images whose small version is known.

    Args:
        config: of the U-Net, the schedule, the training and the ratio.
        image_size: height and width of what it draws, pixels.
        text_width, text_length: D and L of the frozen text encoder.
        image_channels: C of the images.

    Raises:
        UserError: sizes that do not divide.
    """

    config: SuperResolutionConfig
    super_resolution: SuperResolution

    def __init__(
        self,
        config: SuperResolutionConfig,
        image_size: int,
        text_width: int,
        text_length: int,
        image_channels: int = 3,
    ) -> None:
        if image_size % config.ratio or config.crop > image_size:
            raise UserError(
                "generator.ratio and generator.crop do not fit data.size",
                expected=f"a size that is a multiple of {config.ratio} and at least {config.crop}",
                got=f"{image_size} pixels",
                fix="change data.size, generator.ratio or generator.crop",
            )
        super().__init__(config, image_size, text_width, text_length, image_channels)
        self.super_resolution = SuperResolution(config.ratio, config.crop, config.augmentation)
        self.shape_multiple = 0  # crops of the small images are squares
        self.level_embedding = NoiseLevelEmbedding(config.text_width)

    @property
    def extra_images(self) -> int:
        """The upscaled one."""
        return 1

    def forward(self, batch: Batch, draws: Draws) -> Prediction:
        """Lay noise of a random level over the upscaled small images; then as any denoiser."""
        size = (batch.images.shape[-2], batch.images.shape[-1])
        condition = self.super_resolution.augmented(batch.condition, size, draws)
        return super().forward(replace(batch, condition=condition), draws)

    def _predict(
        self, x: Tensor, t: Tensor, condition: Condition, previous: Tensor | None, labels: Tensor | None
    ) -> Tensor:
        """The prediction; a clean image is what the network makes and the colours of what it is given.

        Group norms lose faint tints of large areas. Only means of squares are added, in which noise of the
        augmentation is small, and as far as they are no noise: cos(s pi/2) at level s.
        """
        output = super()._predict(x, t, condition, previous, labels)
        if self.config.prediction != "sample":
            return output
        images, level = prepare_low_res(condition, (x.shape[-2], x.shape[-1]))
        kept = (level * (math.pi / 2)).cos().to(output)[:, None, None, None]
        return output + kept * tints(images).to(output)

    def _with_images(
        self, x: Tensor, pooled: Tensor, condition: Condition, previous: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        images, level = prepare_low_res(condition, (x.shape[-2], x.shape[-1]))
        return torch.cat([x, images.to(x)], 1), pooled + self.level_embedding(level, pooled)
