"""A denoiser laid out as DeepFloyd IF's first stage, so that diffusers' own pipeline can sample it.

Its U-Net takes the text encoder's tokens as they are, padding included, without a mask, and no pooled text.
Source: DeepFloyd IF (github.com/deep-floyd/IF), after Imagen (arXiv 2205.11487).
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from t2ikit import Condition
from t2ikit_imagen.configs import IFConfig
from t2ikit_imagen.denoiser import ImagenDenoiser
from t2ikit_imagen.unet import build_unet


class IFDenoiser(ImagenDenoiser):
    """A text-conditional denoiser whose weights are those of a UNet2DConditionModel alone.

    Args:
        config: of the U-Net, the schedule and the training.
        image_size: height and width of the images, pixels.
        text_width, text_length: D and L of the frozen text encoder.
    """

    config: IFConfig

    def _build(self, text_width: int, text_length: int) -> None:
        self.unet = build_unet(self.config, self.image_size, text=text_width)

    def prepare(self, condition: Condition) -> Condition:
        """The condition as it is: there is no text tower."""
        return replace(condition, prepared=True)

    def _predict(
        self, x: Tensor, t: Tensor, condition: Condition, previous: Tensor | None, labels: Tensor | None
    ) -> Tensor:
        self._check_size(x)
        output: Tensor = self.unet(x, t, encoder_hidden_states=condition.text.tokens).sample
        return output
