"""The denoiser: text tower, U-Net, noise schedule and what training does with them.

Sources: Imagen, arXiv 2205.11487; self-conditioning, arXiv 2208.04202 (section 3.2); noise and what is
predicted: `t2ikit.nn.noise`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t2ikit import (
    Batch,
    Condition,
    Denoiser,
    Draws,
    Prediction,
    TextTower,
    UserError,
    exclude_from_muon,
    noise_levels,
    noised_prediction,
    random_timesteps,
    to_clean,
)
from t2ikit_imagen.augmentation import LABELS, augment
from t2ikit_imagen.configs import UNetConfig
from t2ikit_imagen.noise import make_scheduler
from t2ikit_imagen.unet import build_unet


class ImagenDenoiser(Denoiser):
    """A text-conditional denoiser.

    Args:
        config: of the U-Net, the schedule and the training.
        image_size: height and width of the images, pixels.
        text_width, text_length: D and L of the frozen text encoder.
        image_channels: C of the images.
    """

    alphas_cumprod: Tensor

    def _build(self, text_width: int, text_length: int) -> None:
        """Make the text tower and the U-Net."""
        config = self.config
        self.tower = TextTower(text_width, text_length, config.text_width, config.text_layers)
        self.unet = build_unet(config, self.image_size, self.extra_images, channels=self.image_channels)

    @property
    def extra_images(self) -> int:
        """How many images the U-Net sees beside the noisy one."""
        return 1 if self.config.self_conditioning else 0

    def __init__(
        self,
        config: UNetConfig,
        image_size: int,
        text_width: int,
        text_length: int,
        image_channels: int = 3,
    ) -> None:
        super().__init__()
        self.config, self.image_size, self.image_channels = config, image_size, image_channels
        self.caption_dropout = config.caption_dropout
        self.shape_multiple = self._step
        self.self_conditioning = config.self_conditioning > 0
        self._build(text_width, text_length)
        exclude_from_muon(self.unet.conv_in.weight, self.unet.conv_out.weight)
        if config.augment:
            self.labels = nn.Linear(LABELS, config.text_width, bias=False)
        scheduler = make_scheduler(config)
        self.scheduler_config: dict[str, Any] = {**scheduler.config, "prediction_type": config.prediction}
        self.register_buffer("alphas_cumprod", scheduler.alphas_cumprod.float(), persistent=False)

    def prepare(self, condition: Condition) -> Condition:
        """The condition with its texts through the tower, once for all sampling steps."""
        if condition.prepared:
            return condition
        text, empty = self.tower(condition.text), self.tower(condition.empty)
        return replace(condition, text=text, empty=empty, prepared=True)

    def denoise(self, x: Tensor, t: Tensor, condition: Condition, previous: Tensor | None = None) -> Tensor:
        """The prediction for noisy images x (B, 3, H, W) at timesteps t (B,).

        `previous` is the last estimate of the clean images, for a self-conditioned model; None: there is
        none yet.
        """
        return self._predict(x, t, condition, previous, None)

    def _predict(
        self, x: Tensor, t: Tensor, condition: Condition, previous: Tensor | None, labels: Tensor | None
    ) -> Tensor:
        self._check_size(x)
        text = condition.text if condition.prepared else self.tower(condition.text)
        pooled = text.pooled if labels is None else text.pooled + self.labels(labels)
        x, pooled = self._with_images(x, pooled, condition, previous)
        folded = F.pixel_unshuffle(x, self.config.patch)  # (B, C patch², H / patch, W / patch)
        tokens, mask = self._told_apart(text.tokens, text.mask, folded.shape[-2:])
        output = self.unet(
            folded, t, encoder_hidden_states=tokens, encoder_attention_mask=mask, class_labels=pooled
        ).sample
        return F.pixel_shuffle(output, self.config.patch)

    @property
    def _step(self) -> int:
        """Of which height and width are multiples."""
        return self.config.patch * 2 ** (len(self.config.channels) - 1)

    def _check_size(self, x: Tensor) -> None:
        if x.shape[-1] % self._step or x.shape[-2] % self._step:
            raise UserError(
                "the denoiser was given images of a size that cannot be halved often enough",
                expected=f"multiples of {self._step} pixels",
                got=tuple(x.shape),
                fix="cut or resize the images",
            )

    def _with_images(
        self, x: Tensor, pooled: Tensor, condition: Condition, previous: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The noisy images (B, 3, H, W) with those the U-Net sees beside them, and what it is told."""
        if self.self_conditioning:
            x = torch.cat([x, torch.zeros_like(x) if previous is None else previous.to(x.dtype)], 1)
        return x, pooled

    def _told_apart(self, tokens: Tensor, mask: Tensor, folded: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Tokens (B, L, D) and mask (B, L), one masked token longer where L is a level's number of pixels.

        `folded` is height and width of the folded images.

        There diffusers' attention takes the text's mask for one of text and pixels together.
        """
        height, width = folded
        pixels = {(height >> level) * (width >> level) for level in range(len(self.config.channels))}
        if mask.shape[1] not in pixels:
            return tokens, mask
        return F.pad(tokens, (0, 0, 0, 1)), F.pad(mask, (0, 1))

    def forward(self, batch: Batch, draws: Draws) -> Prediction:
        """Noise the images, drop some captions, predict, and derive the clean images."""
        t = self._timesteps(draws)
        real, labels = None, None
        if self.config.augment:
            real, labels = augment(batch.images, self.config.augment, draws.named("augment"))

        def predict(x: Tensor, t: Tensor, condition: Condition) -> Tensor:
            previous = self._first_estimate(x, t, condition, labels, draws)
            return self._predict(x, t, condition, previous, labels)

        return noised_prediction(self, batch, draws, self.alphas_cumprod, predict=predict, t=t, images=real)

    def _timesteps(self, draws: Draws) -> Tensor:
        """Timesteps (B,): integers, or any number in (0, T) for a flow model."""
        config = self.config
        return random_timesteps(
            draws,
            config.timesteps,
            prediction=config.prediction,
            sampling=config.timestep_sampling,
            shift=config.timestep_shift,
            low_discrepancy=config.low_discrepancy,
        )

    def _first_estimate(
        self, x: Tensor, t: Tensor, condition: Condition, labels: Tensor | None, draws: Draws
    ) -> Tensor | None:
        """The clean images as seen without an estimate, for a share of the samples, else 0; no gradient."""
        if not self.self_conditioning:
            return None
        kind = self.config.prediction
        chosen = draws.named("self-conditioning").rand() < self.config.self_conditioning
        with torch.no_grad():
            output = self._predict(x, t, condition, None, labels).float()
            clean = to_clean(kind, output, x, *noise_levels(kind, self.alphas_cumprod, t))
        return clean.clamp(-1, 1) * chosen[:, None, None, None]
