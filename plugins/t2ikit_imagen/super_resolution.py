"""The denoiser that enlarges pictures: what it is given lies beside the noisy picture, and its noise is told.

Source: Imagen (arXiv 2205.11487, sections 2.4 and 2.5, appendix B): noise conditioning augmentation and the
efficient U-Net, most of whose parameters are at the lowest level and which attends there alone; trained on
pieces, it draws whole pictures.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from torch import Tensor

from t2ikit import Batch, Condition, Draws, Prediction, UserError
from t2ikit.enlarging import Enlarging, prepared, with_noise
from t2ikit_imagen import noise
from t2ikit_imagen.configs import SuperResolutionConfig
from t2ikit_imagen.denoiser import ImagenDenoiser

FREQUENCIES = 64
"""Sines and cosines that tell the level of the noise."""
TOP = 1000.0
"""What level 1 is counted as, so that the sines are those of timesteps."""
PICTURE_POWER = 0.5
"""Mean square of pixels in [-1, 1], about."""


class Around:
    """What a network sees and what it says of clean pictures x0, where a guess of them is known.

    The guess is cos(s pi/2) of the noisy small picture at level s, which lacks a deviation tau. Then
    x - alpha guess has the variance alpha^2 tau^2 + sigma^2, the network sees it scaled to 1, and what it
    should say is of variance 1, too: EDM's preconditioning (arXiv 2206.00364, equation 7 and appendix B.6)
    around a guess.

    Args:
        pictures: (B, 3, H, W), the enlarged small pictures with their noise.
        level: (B,) in [0, 1], of that noise.
        alpha, sigma: (B, 1, 1, 1), of the noisy picture.
        missing: root mean square of what an enlarged picture without noise lacks.
    """

    def __init__(self, pictures: Tensor, level: Tensor, alpha: Tensor, sigma: Tensor, missing: float) -> None:
        angle = (level.to(pictures) * (math.pi / 2))[:, None, None, None]
        kept, lost = angle.cos().square(), angle.sin().square()
        self.guess = pictures * angle.cos()
        # x0 - guess = kept (x0 - clean) + lost x0 - cos sin noise
        self.tau2 = (kept * missing).square() + kept * lost + lost.square() * PICTURE_POWER
        self.alpha, self.sigma = alpha, sigma
        self.total = (alpha.square() * self.tau2 + sigma.square()).clamp_min(1e-12)

    def inward(self, x: Tensor) -> Tensor:
        """What the network sees of noisy pictures x (B, 3, H, W)."""
        return (x - self.alpha * self.guess) / self.total.sqrt()

    def outward(self, x: Tensor, output: Tensor) -> Tensor:
        """The clean pictures (B, 3, H, W) that its output stands for."""
        known = self.guess + self.alpha * self.tau2 / self.total * (x - self.alpha * self.guess)
        return known + self.sigma * (self.tau2 / self.total).sqrt() * output


class ImagenUpsampler(ImagenDenoiser):
    """A text-conditional denoiser of pictures whose small version is known.

    Args:
        config: of the U-Net, the schedule, the training and the ratio.
        image_size: height and width of what it draws, pixels.
        text_width, text_length: D and L of the frozen text encoder.

    Raises:
        UserError: sizes that do not divide.
    """

    config: SuperResolutionConfig

    def __init__(
        self, config: SuperResolutionConfig, image_size: int, text_width: int, text_length: int
    ) -> None:
        if image_size % config.ratio or config.crop > image_size:
            raise UserError(
                "generator.ratio and generator.crop do not fit data.size",
                expected=f"a size that is a multiple of {config.ratio} and at least {config.crop}",
                got=f"{image_size} pixels",
                fix="change data.size, generator.ratio or generator.crop",
            )
        super().__init__(config, image_size, text_width, text_length)
        self.enlarges = Enlarging(config.ratio, config.crop)
        self.level_waves = Timesteps(FREQUENCIES, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.level_embedding = TimestepEmbedding(FREQUENCIES, config.text_width)

    @property
    def pictures_beside(self) -> int:
        """The enlarged one."""
        return 1

    def forward(self, batch: Batch, draws: Draws) -> Prediction:
        """Lay noise of a random level over the enlarged small pictures; then as any denoiser."""
        own = draws.named("augmentation")
        size = (batch.images.shape[-2], batch.images.shape[-1])
        condition = with_noise(batch.condition, size, own.rand(), own)
        return super().forward(replace(batch, condition=condition), draws)

    def _predict(
        self, x: Tensor, t: Tensor, condition: Condition, previous: Tensor | None, labels: Tensor | None
    ) -> Tensor:
        """The prediction; that of a clean picture is made around what is given.

        So colours and shapes that the small picture has need not be learned, and fine detail is kept where
        there is little noise.
        """
        if self.config.prediction != "sample":
            return super()._predict(x, t, condition, previous, labels)
        pictures, level = prepared(condition, (x.shape[-2], x.shape[-1]))
        alpha, sigma = noise.levels("sample", self.alphas_cumprod, t)
        around = Around(pictures.float(), level, alpha, sigma, self.config.missing)
        output = super()._predict(around.inward(x.float()), t, condition, previous, labels)
        return around.outward(x.float(), output.float())

    def _check_size(self, x: Tensor) -> None:
        step = self.config.patch * 2 ** (len(self.config.channels) - 1)
        if x.shape[-1] % step or x.shape[-2] % step:
            raise UserError(
                "the denoiser was given pictures of a size that cannot be halved often enough",
                expected=f"multiples of {step} pixels",
                got=tuple(x.shape),
                fix="cut or resize the pictures",
            )

    def _with_pictures(
        self, x: Tensor, pooled: Tensor, condition: Condition, previous: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        pictures, level = prepared(condition, (x.shape[-2], x.shape[-1]))
        told = self.level_embedding(self.level_waves(level * TOP).to(pooled.dtype))
        return torch.cat([x, pictures.to(x)], 1), pooled + told
