"""`neighbours`: does the model generate, or does it remember? Distances to the nearest training image.

Letters: N images, M training images.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from t2ikit.core.metric import ImageSet, Measure, NotMeasured
from t2ikit.metrics.configs import PlainConfig
from t2ikit.metrics.intervals import below_interval, mean_interval
from t2ikit.utils.images import to_levels

PROVENANCE = "root mean square over pixels, levels of 255"
NEAR = 0.05
"""Held-out images that count as near their nearest training image."""
NO_YARDSTICK = "the real images are in the training data: they do not show what is near"


class Neighbours:
    """A metric without a network.

    - `distance`: mean distance of the images to their nearest training image.
    - `real-distance`: the same of real images of the same prompts, the yardstick.
    - `nearer`: share of the images that lie nearer to a training image than all but 5 % of the real
      ones. About 5 % where sampled images are as new as real ones; far above: it remembers. Left out
      where the real ones are training images themselves.
    """

    needs_prompts = False

    def __init__(self, config: PlainConfig | None = None) -> None:
        self.config = config or PlainConfig()

    def __call__(self, image_set: ImageSet) -> dict[str, Measure]:
        """Measure the images.

        Raises:
            NotMeasured: the training images cannot be read.
        """
        if image_set.train is None:
            raise NotMeasured("needs the run's own training images, here and read by index, not a stream")
        ours = nearest(image_set.images, image_set.train)[0].numpy()
        provenance = f"{PROVENANCE}, nearest of {len(image_set.train)}"
        mean, low, high = mean_interval(ours)
        measures = {"distance": Measure(mean, len(ours), low, high, "levels", provenance)}
        if image_set.real is not None:
            real = nearest(image_set.real, image_set.train)[0].numpy()
            mean, low, high = mean_interval(real)
            measures["real-distance"] = Measure(mean, len(real), low, high, "levels", provenance)
            if np.quantile(real, NEAR) == 0:
                return {name: replace(one, warning=NO_YARDSTICK) for name, one in measures.items()}
            share = float((ours < np.quantile(real, NEAR)).mean())
            low, high = below_interval(ours, real, NEAR)
            measures["nearer"] = Measure(100 * share, len(ours), 100 * low, 100 * high, "%", provenance)
        return measures


def nearest(images: Tensor, train: Tensor) -> tuple[Tensor, Tensor]:
    """Distance (N,), float64, and place (N,) of the nearest of training images (M, 3, H, W)."""
    a, b = (to_levels(x).flatten(1) for x in (images, train))
    parts = [torch.cdist(part, b, compute_mode="donot_use_mm_for_euclid_dist").min(1) for part in a.split(64)]
    distances = torch.cat([part.values for part in parts]) / a.shape[1] ** 0.5
    return distances, torch.cat([part.indices for part in parts])
