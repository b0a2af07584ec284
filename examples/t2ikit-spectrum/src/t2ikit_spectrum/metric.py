"""The distance between radially averaged power spectra (azimuthal integration, arXiv 2003.01826, section 3).

Letters: N images, C channels, H height and width, F = H / 2 frequencies above 0.
"""

from __future__ import annotations

import torch
from torch import Tensor

from t2ikit import ImageSet, Measure, NotMeasured
from t2ikit_spectrum.plugin import SpectrumConfig


def spectra(images: Tensor) -> Tensor:
    """Power (N, F) of images (N, C, H, H) at 1, 2, ..., H / 2 waves a side, averaged over directions."""
    size = images.shape[-1]
    power = torch.fft.fft2(images.double(), norm="ortho").abs().square().mean(1)  # (N, H, H)
    waves = torch.fft.fftfreq(size) * size
    radius = torch.hypot(waves[:, None], waves[None, :]).round().long().flatten()  # (H * H,)
    count = size // 2 + 1
    inside = radius < count
    sums = power.new_zeros(len(images), count).index_add(1, radius[inside], power.flatten(1)[:, inside])
    return (sums / torch.bincount(radius[inside], minlength=count))[:, 1:]


def distance(ours: Tensor, real: Tensor, floor: float) -> Tensor:
    """Root mean square over frequencies of the difference of mean log power, in decibels.

    Args:
        ours, real: (..., N, F), spectra.
        floor: power added before the logarithm.
    """
    first, second = (10 * (each + floor).log10().mean(-2) for each in (ours, real))
    return (first - second).square().mean(-1).sqrt()


class Spectrum:
    """How far the sampled images' spectrum is from that of real images of the same prompts."""

    needs_prompts = False  # it compares two sets as a whole

    def __init__(self, config: SpectrumConfig) -> None:
        self.config = config

    def __call__(self, image_set: ImageSet) -> dict[str, Measure]:
        """The distance, with a bootstrap interval over images.

        Raises:
            NotMeasured: there are no real images.
        """
        if image_set.real is None:
            raise NotMeasured("needs a real image of each prompt, and the dataset has none for some")
        ours, real = spectra(image_set.images), spectra(image_set.real)
        value = float(distance(ours, real, self.config.floor))
        low, high = self._interval(ours, real, value)
        return {
            "distance": Measure(
                value, len(ours), low, high, "dB", f"floor {self.config.floor}", better="lower"
            )
        }

    def _interval(self, ours: Tensor, real: Tensor, value: float) -> tuple[float | None, float | None]:
        """The basic bootstrap's 95 % interval, for a distance that resampling makes greater; 0 at least."""
        if self.config.resamples == 0 or len(ours) < 2:
            return None, None
        seeded = torch.Generator().manual_seed(0)
        shape = (self.config.resamples, len(ours))
        drawn = [each[torch.randint(len(ours), shape, generator=seeded)] for each in (ours, real)]
        below, above = torch.quantile(
            distance(*drawn, self.config.floor), torch.tensor([0.025, 0.975]).double()
        )
        return max(0.0, min(value, 2 * value - float(above))), max(value, 2 * value - float(below))
