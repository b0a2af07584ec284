"""How different the images of one prompt are, in the features of a frozen network.

Letters: P prompts, K images of each, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from t2ikit.core.metric import ImageSet, Measure, NotMeasured
from t2ikit.metrics.features import Features, Network
from t2ikit.metrics.intervals import mean_interval


class FeatureDiversity:
    """Mean cosine distance between the features of two images, 0 where they are alike.

    - `per-prompt`: of two images of one prompt; 0 means that noise changes nothing.
    - `across-prompts`: of images of different prompts, the yardstick.

    No LPIPS: distances of different networks do not compare.

    Args:
        batch: images looked at once.
        network: whose features are compared; opened once, when first needed.
        readable: whether the network can make sense of the prompts' images; None: of any.
    """

    uses_images_per_prompt = True

    def __init__(
        self,
        batch: int,
        network: Network,
        readable: Callable[[Sequence[str]], bool] | None = None,
    ) -> None:
        self.batch, self.readable = batch, readable
        self.dependencies, self.downloads, self.fetch = network.dependencies, network.downloads, network.fetch
        self._open = network.open
        self._features: Features | None = None

    def __call__(self, image_set: ImageSet) -> dict[str, Measure]:
        """Measure the images of each prompt.

        Raises:
            NotMeasured: no prompt was sampled twice, or the network cannot be had.
        """
        if self.readable is not None and not self.readable(image_set.prompts):
            raise NotMeasured("its features tell creatures apart, and these prompts ask for something else")
        images = image_set.images_per_prompt
        if images is None or images.shape[1] < 2:
            raise NotMeasured("needs at least two images of a prompt, sampled from different noise")
        if self._features is None:
            self._features = self._open()
        prompts, count = images.shape[:2]
        seen = F.normalize(self._features(images.flatten(0, 1), self.batch).double(), dim=-1)
        seen = seen.unflatten(0, (prompts, count))
        within = torch.stack([between(group, group).sum() for group in seen]) / (count * (count - 1))
        mean, low, high = mean_interval(within.numpy())
        provenance = f"{self._features.name}, mean cosine distance over pairs of {count} images a prompt"
        measures = {"per-prompt": Measure(mean, prompts, low, high, "", provenance, "", "higher")}
        if prompts > 1:
            pairs = torch.triu_indices(prompts, prompts, 1).T
            across = torch.stack([between(seen[a], seen[b]).mean() for a, b in pairs]).mean()
            measures["across-prompts"] = Measure(float(across), prompts, provenance=provenance)
        return measures


def between(a: Tensor, b: Tensor) -> Tensor:
    """Cosine distances (N, M) in [0, 2] of unit features (N, D) to (M, D); 0 for equal ones."""
    return (a[:, None] - b[None]).square().sum(-1) / 2
