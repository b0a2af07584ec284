"""`colours`: what too much guidance does to pixels: saturation, and noise where all is plain.

Letters: N images.
"""

from __future__ import annotations

import torch
from torch import Tensor

from t2ikit.core.metric import ImageSet, Measure
from t2ikit.metrics.configs import PlainConfig
from t2ikit.metrics.intervals import mean_interval
from t2ikit.utils.images import to_levels


class Colours:
    """A metric without a network.

    - `saturation`: mean saturation of the colours (HSV: 1 - min / max of red, green and blue), %.
    - `extremes`: share of colour values at 0 or 255, %.
    - `border-noise`: how far the outermost ring of pixels lies from its own median colour, root mean
      square, in levels of 255. Only where real images have a plain border does it measure noise.

    Each comes once more as `real-...`, of the real images.
    """

    needs_prompts = False

    def __init__(self, config: PlainConfig | None = None) -> None:
        self.config = config or PlainConfig()

    def __call__(self, image_set: ImageSet) -> dict[str, Measure]:
        """Measure the images, and the real images where there are some."""
        measures = _measures("", image_set.images)
        return measures if image_set.real is None else measures | _measures("real-", image_set.real)


def _measures(prefix: str, images: Tensor) -> dict[str, Measure]:
    levels = to_levels(images)
    each = {
        "saturation": (100 * saturation(levels), "%"),
        "extremes": (100 * ((levels < 0.5) | (levels > 254.5)).double().mean((1, 2, 3)), "%"),
        "border-noise": (border_noise(levels), "levels"),
    }
    measures = {}
    for name, (values, unit) in each.items():
        mean, low, high = mean_interval(values.numpy())
        measures[prefix + name] = Measure(mean, len(images), low, high, unit, "pixels as they are")
    return measures


def saturation(levels: Tensor) -> Tensor:
    """Mean saturation (N,) in [0, 1] of images (N, 3, H, W) in levels from 0 to 255."""
    high, low = levels.amax(1), levels.amin(1)
    return torch.where(high > 0, 1 - low / high.clamp(min=1e-9), torch.zeros(())).mean((1, 2))


def border_noise(levels: Tensor) -> Tensor:
    """Root mean square distance (N,) of the outermost pixels from their median, channel by channel."""
    ring = torch.cat(
        [levels[..., 0, :], levels[..., -1, :], levels[..., 1:-1, 0], levels[..., 1:-1, -1]], -1
    )  # (N, 3, 2H + 2W - 4)
    return (ring - ring.median(-1, keepdim=True).values).square().mean((1, 2)).sqrt()
