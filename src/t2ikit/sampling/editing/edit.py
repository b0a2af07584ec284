"""What a denoiser makes of an image: it begins at the image with noise, and repaints what a mask shows.

Sources: beginning at a middle noise level, SDEdit (arXiv 2108.01073); keeping a part at every level, RePaint
(arXiv 2201.09865, equation 8), here by keeping it in the estimate of the clean images: a sampler's step then
leaves the part at the image with the noise of that level, whatever the sampler keeps of earlier steps.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from t2ikit.core.interfaces import Sampler
from t2ikit.core.tensors import map_tensors


@dataclass(frozen=True)
class ImageEdit:
    """Images that sampling begins at, and what of them is made anew.

    Attributes:
        image: (B, 3, H, W) in [-1, 1].
        mask: (B, 1, H, W) bool, true where it is repainted; None: everywhere.
        strength: share of the sampler's steps that are taken, in [0, 1], the last ones: 0 gives the image
            back; 1 begins at pure noise, so that without a mask nothing is left of the image.
    """

    image: Tensor
    mask: Tensor | None = None
    strength: float = 1.0

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, index: slice) -> ImageEdit:
        mask = None if self.mask is None else self.mask[index]
        return ImageEdit(self.image[index], mask, self.strength)

    def to(self, device: torch.device | str) -> ImageEdit:
        """The same edit on `device`."""
        return map_tensors(self, lambda tensor: tensor.to(device))

    def repeated(self, count: int) -> ImageEdit:
        """Each image `count` times in a row."""
        return map_tensors(self, lambda tensor: tensor.repeat_interleave(count, 0))

    def kept(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) with the part that is not repainted taken from the edit's own, to the bit."""
        return images if self.mask is None else torch.where(self.mask, images, self.image.to(images))

    def skipped(self, steps: int) -> int:
        """How many of so many steps are left out at the noisy end.

        As in diffusers, int(steps * strength) are taken, but for a product that is whole up to rounding.
        """
        return steps - int(round(steps * self.strength, 6))


def start_of(scheduler: Any, edit: ImageEdit | None, noise: Tensor, steps: int) -> tuple[int, Tensor]:
    """Where a scheduler's timesteps begin, and what with.

    Args:
        scheduler: of diffusers, whose `steps` timesteps are set.
        edit: what sampling begins at; None: at noise.
        noise: (B, 3, H, W) of unit variance.
        steps: as they were set, before a scheduler of higher order asks twice in each.

    Returns:
        The place of the first timestep that is taken, and images (B, 3, H, W) with its noise.
    """
    first = 0 if edit is None else edit.skipped(steps) * getattr(scheduler, "order", 1)
    if edit is None or first == 0:
        return 0, noise * scheduler.init_noise_sigma
    if first >= len(scheduler.timesteps):
        return first, edit.image.to(noise)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(first)
    return first, scheduler.add_noise(edit.image.to(noise), noise, scheduler.timesteps[first : first + 1])


def takes_edits(sampler: Sampler) -> bool:
    """Whether a sampler can begin at images: its call has the argument `edit`."""
    return "edit" in inspect.signature(sampler.__call__).parameters
