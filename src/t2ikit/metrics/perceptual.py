"""`lpips`: perceptual distance to the real image, and between images of one prompt.

Source: LPIPS, arXiv 1801.03924, by its authors' package.
"""

from __future__ import annotations

import itertools
import warnings
from typing import Any, Literal

import torch
from torch import Tensor

from t2ikit.core.metric import Download, ImageSet, Measure, NotMeasured
from t2ikit.metrics.configs import LpipsConfig
from t2ikit.metrics.hub_weights import ALEXNET, SQUEEZENET, VGG16, downloads, need_weights, present
from t2ikit.metrics.identity import versions
from t2ikit.metrics.intervals import mean_interval
from t2ikit.metrics.packages import check_installed, library

WEIGHTS = {"alex": ALEXNET, "vgg": VGG16, "squeeze": SQUEEZENET}
LEAST = {"alex": 31, "vgg": 16, "squeeze": 17}
"""Height and width, pixels, below which nothing is left after a network's poolings."""


class Lpips:
    """Two numbers.

    - `paired`: mean distance of each image to the real one of its prompt.
    - `diversity`: mean distance between two images of one prompt; 0 means that noise changes nothing.
    """

    uses_images_per_prompt = True

    def __init__(self, config: LpipsConfig) -> None:
        self.config = config
        self._net: Any = None

    def dependencies(self) -> dict[str, str]:
        """What its numbers depend on besides its options."""
        return {**versions("lpips", "torchvision"), "weights": present(WEIGHTS[self.config.net])}

    def downloads(self) -> list[Download]:
        """The weights of the network below, unless they are here; the package has its own.

        Raises:
            NotMeasured: the package is not installed.
        """
        missing = downloads(WEIGHTS[self.config.net])
        check_installed("lpips", missing)
        return missing

    def fetch(self) -> None:
        """Fetch those weights.

        Raises:
            NotMeasured: they cannot be had.
        """
        need_weights(WEIGHTS[self.config.net])

    def open(self) -> Any:
        """The network, with its trained weights.

        Raises:
            NotMeasured: the package or the weights cannot be had.
        """
        lpips = library("lpips")
        need_weights(WEIGHTS[self.config.net])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return lpips.LPIPS(net=self.config.net, verbose=False).requires_grad_(False)

    def __call__(self, image_set: ImageSet) -> dict[str, Measure]:
        """Measure the images.

        Raises:
            NotMeasured: the images are too small, or the package or the weights cannot be had.
        """
        side, net = min(image_set.images.shape[-2:]), self.config.net
        if side < LEAST[net]:
            others = ", ".join(f"{name} {least}" for name, least in LEAST.items())
            raise NotMeasured(
                f"{net} needs images of at least {LEAST[net]} px, these have {side} (metrics.lpips.net: "
                f"{others})"
            )
        self._net = self._net or self.open()
        measures = {}
        if image_set.real is not None:
            distances = self.distances(image_set.images, image_set.real)
            measures["paired"] = self._measure(distances, len(image_set.images), "lower")
        groups = image_set.images_per_prompt
        if groups is not None and groups.shape[1] > 1:
            each = [self._between(images) for images in groups]
            measures["diversity"] = self._measure(torch.stack(each), len(each), "higher")
        return measures

    def _between(self, images: Tensor) -> Tensor:
        """Mean distance, a scalar, over all pairs of images (K, 3, H, W)."""
        left, right = zip(*itertools.combinations(range(len(images)), 2))
        return self.distances(images[list(left)], images[list(right)]).mean()

    @torch.no_grad()
    def distances(self, a: Tensor, b: Tensor) -> Tensor:
        """Distances (N,) of images (N, 3, H, W) in [-1, 1] to others."""
        parts = zip(a.split(self.config.batch), b.split(self.config.batch))
        return torch.cat([self._net(x, y).flatten() for x, y in parts])

    def _measure(self, values: Tensor, n: int, better: Literal["higher", "lower"]) -> Measure:
        mean, low, high = mean_interval(values.double().numpy())
        version = self.dependencies().get("lpips", "")
        provenance = f"lpips {version}, weights v0.1 of {self.config.net}, images as they are"
        return Measure(mean, n, low, high, "", provenance, "", better)
