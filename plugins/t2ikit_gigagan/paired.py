"""Losses of super-resolution models: their output beside the image that was downsampled.

Sources: GigaGAN (arXiv 2303.05511, section 3.4): LPIPS beside the adversarial loss; LPIPS, arXiv 1801.03924.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t2ikit import Lpips, LpipsConfig, NotMeasured, Step, UserError, as_rgb, example, open_clip
from t2ikit_gigagan.vision import VisionTower


def pixel_loss(step: Step, kind: Literal["l1", "l2"] = "l1") -> Tensor:
    """Absolute or squared error of the full images, weighted by how far they can be trusted."""
    error = (step.fake[-1] - step.real[-1]).float()
    each = error.abs() if kind == "l1" else error.square()
    return (each.mean((1, 2, 3)) * step.prediction.image_weight).mean()


class PerceptualLoss(nn.Module):
    """Distance of the full images in features of a frozen network: LPIPS, or layers of a CLIP.

    With a CLIP: the mean squared difference of patches after `depths` evenly spaced layers, each patch scaled
    to mean 0 and variance 1. The frozen network is no submodule.

    Args:
        model: "lpips", or a folder or Hub id of a CLIP.
        depths: layers of the CLIP that are compared.

    Raises:
        UserError: the weights cannot be had, or the CLIP has fewer layers.
    """

    def __init__(self, model: str, depths: int = 3) -> None:
        super().__init__()
        self._lpips: tuple[Any, ...] = ()
        if model == "lpips":
            try:
                self._lpips = (Lpips(LpipsConfig.model_validate({"net": "vgg"})).open().eval(),)
            except NotMeasured as error:
                raise UserError(
                    "losses.perceptual: LPIPS is not here",
                    expected="the package lpips and the weights it stands on",
                    got=error,
                    fix="get what is missing, or set losses.perceptual.model to a CLIP "
                    f"({example('train_clip.py', '--out', 'clip-creatures')} makes one)",
                ) from error
            return
        clip, pixels = open_clip(model)
        self.vision = VisionTower(clip.vision_model, pixels)
        layers = self.vision.layers
        if depths > layers:
            raise UserError(
                f"losses.perceptual: {model} has {layers} layers",
                expected=f"depths from 1 to {layers}",
                got=depths,
                fix=f"--set losses.perceptual.depths={layers:d}",
            )
        self.depths = [round(layers * (i + 1) / depths) for i in range(depths)]

    def forward(self, step: Step) -> Tensor:
        """The mean over the batch."""
        return (self.distance(step.fake[-1], step.real[-1]) * step.prediction.image_weight).mean()

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """Distances (B,) of images (B, C, H, W) in [-1, 1]; with gradient in `a`."""
        if self._lpips:
            return self._lpips[0].to(a.device)(as_rgb(a), as_rgb(b)).flatten()
        ours = self.vision.maps(a, self.depths)
        with torch.no_grad():
            theirs = self.vision.maps(b, self.depths)
        pairs = zip(ours, theirs, strict=True)
        return torch.stack([F.mse_loss(x, y, reduction="none").mean((1, 2, 3)) for x, y in pairs]).mean(0)
