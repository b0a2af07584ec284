"""What super-resolution adds to the data: crops, low-resolution images, and noise on those.

Source: Imagen (arXiv 2205.11487, section 2.4): training on random crops, and noise conditioning augmentation:
the upscaled low-resolution image gets noise of a random level, which the model is told, so that it tolerates
the errors of an earlier stage. The noise follows the cosine schedule (arXiv 2102.09672): cos(s pi/2) of the
image and sin(s pi/2) of noise at level s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from t2ikit.core.batch import Condition
from t2ikit.core.rng import Draws, derive_seed


@dataclass(frozen=True)
class SuperResolution:
    """How a super-resolution model is trained.

    Attributes:
        ratio: side of an output over the side of its low-resolution image.
        crop: side of the random crops it is trained on, pixels, a multiple of `ratio`; 0: whole images.
        augmentation: greatest level of the noise added to low-resolution images in training.
    """

    ratio: int
    crop: int = 0
    augmentation: float = 1.0

    def random_crop(self, image: Tensor, seed: int, number: int) -> Tensor:
        """A random crop (3, crop, crop) of an image (3, H, W), the same for the same seed and number."""
        if not self.crops(image.shape[-1]):
            return image
        top, left = self.random_corner(image.shape[-1], seed, number)
        return image[:, top : top + self.crop, left : left + self.crop]

    def crops(self, side: int) -> bool:
        """Whether images of `side` pixels are cropped."""
        return 0 < self.crop < side

    def random_corner(self, side: int, seed: int, number: int) -> tuple[int, int]:
        """The first row and column of a random crop of a square image, the same for the same seed and number.

        Its centre is uniform over the image, and it is then moved inside: with uniform corners, few crops
        would show a border. Its corner lies at a multiple of `ratio`, so that the low-resolution image of the
        crop is a crop of the image's.
        """
        last, beyond = (side - self.crop) // self.ratio, self.crop // (2 * self.ratio)
        places = (derive_seed(seed, name, number) for name in ("crop top", "crop left"))
        starts = (place % (last + 1 + 2 * beyond) - beyond for place in places)
        top, left = (self.ratio * min(max(start, 0), last) for start in starts)
        return top, left

    def augmented(
        self, condition: Condition, size: tuple[int, int], draws: Draws, level: float | None = None
    ) -> Condition:
        """The condition with its low-resolution images upscaled to `size`, with noise.

        The level is random up to `augmentation`, as in training, or `level`, as in sampling. Training and
        sampling both use this, so that a model sees the same statistics in both.
        """
        own = draws.named("augmentation")
        if level is None:
            levels = own.rand() * self.augmentation
        else:
            levels = condition.text.pooled.new_full((len(condition),), level, dtype=torch.float32)
        return with_noise(condition, size, levels, own)


def shrink(images: Tensor, ratio: int) -> Tensor:
    """Images (B, 3, H, W) to (B, 3, H / ratio, W / ratio): each pixel the mean of a square."""
    return F.avg_pool2d(images, ratio)


def upscale(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Images (B, 3, h, w) to (B, 3, *size) by bicubic interpolation, not clipped."""
    return F.interpolate(images.float(), size=size, mode="bicubic", align_corners=False)


def with_noise(condition: Condition, size: tuple[int, int], level: Tensor, draws: Draws) -> Condition:
    """The condition with its images upscaled to `size`, and noise of `level` (B,) in [0, 1] on them."""
    if condition.low_res is None:
        raise ValueError("the condition has no images to upscale")
    clean = upscale(condition.low_res, size)
    angle = (level.to(clean) * (math.pi / 2))[:, None, None, None]
    noise = draws.randn(clean.shape[1], *size).to(clean)
    return replace(condition, low_res=clean * angle.cos() + noise * angle.sin(), noise_level=level.to(clean))


def prepare_low_res(condition: Condition, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The upscaled images (B, 3, *size) of a condition and their noise levels (B,).

    Images without noise yet are upscaled, at level 0.
    """
    if condition.low_res is None:
        raise ValueError("the condition has no images to upscale")
    if condition.noise_level is not None:
        return condition.low_res, condition.noise_level
    clean = upscale(condition.low_res, size)
    return clean, torch.zeros(len(clean), device=clean.device)
