"""Distances between sampled and real images in the features of a frozen network.

Sources: Frechet distance, arXiv 1706.08500 (section 3); kernel distance, arXiv 1801.01401 (section 3);
precision and recall, arXiv 1904.06991 (section 2). Computed in float64, where torch-fidelity rounds to
float32; else the values are the same. The Frechet distance's intervals are conservative: `spread_interval`.

Letters: N and M images, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from t2ikit.core.metric import ImageSet, Measure, NotMeasured
from t2ikit.metrics import intervals
from t2ikit.metrics.configs import FeatureConfig
from t2ikit.metrics.coverage import covered, share_interval
from t2ikit.metrics.features import Features, Network
from t2ikit.metrics.intervals import spread_interval
from t2ikit.utils.images import to_uint8

SUBSET, SUBSETS, SEED = 1000, 100, 2020
"""Images of a subset of the kernel distance and how many subsets, as published; the seed is torch-fidelity's,
so that the subsets are the same."""
ENOUGH = 2048
"""Below so many images the Frechet distance is known to come out too large."""
QUICK, FEWEST = 512, 10
"""Up to so many images or features, the Frechet distance is resampled as often as is asked. Beyond, as the
time of one grows with their cube, resamples become fewer with their square, but not fewer than FEWEST."""


class FeatureDistance:
    """A metric: any of "frechet", "kernel", "precision" and "recall", under names of their own.

    Args:
        config: batch and resamples.
        network: whose features are compared; opened once, when first needed.
        names: what each measure is called, in the order they are shown.
        readable: whether the network can make sense of the prompts' images; None: of any.
    """

    needs_prompts = False

    def __init__(
        self,
        config: FeatureConfig,
        network: Network,
        names: dict[str, str],
        readable: Callable[[Sequence[str]], bool] | None = None,
    ) -> None:
        self.config, self.names, self.readable = config, names, readable
        self.dependencies, self.downloads, self.fetch = network.dependencies, network.downloads, network.fetch
        self._open = network.open
        self._features: Features | None = None

    def __call__(self, image_set: ImageSet) -> dict[str, Measure]:
        """Measure the sampled images against the real ones of the same prompts.

        Raises:
            NotMeasured: there are no real images, too few, or the network cannot be had.
        """
        if self.readable is not None and not self.readable(image_set.prompts):
            raise NotMeasured("its features tell creatures apart, and these prompts ask for something else")
        if image_set.real is None:
            raise NotMeasured("needs a real image of each prompt, and the dataset has none for some")
        if len(image_set.images) < intervals.FEWEST:
            raise NotMeasured(f"needs at least {intervals.FEWEST} images, got {len(image_set.images)}")
        if self._features is None:
            self._features = self._open()
        sets = (image_set.images, image_set.real)
        ours, real = (self._features(images, self.config.batch).double() for images in sets)
        computed = {
            "frechet": lambda: self._frechet(ours, real),
            "kernel": lambda: self._kernel(ours, real),
            "precision": lambda: self._share(ours, real, "precision"),
            "recall": lambda: self._share(ours, real, "recall"),
        }
        measures = {name: computed[kind]() for kind, name in self.names.items()}
        different = len({image.numpy().tobytes() for image in to_uint8(image_set.real)})
        if different == len(image_set.real):
            return measures
        few = f"only {different} of {len(image_set.real)} real images are different"
        return {
            name: replace(one, warning="; ".join(filter(None, (one.warning, few))))
            for name, one in measures.items()
        }

    def _provenance(self, how: str) -> str:
        assert self._features is not None
        return f"{self._features.name}, a real image a prompt, {how}"

    def _resamples(self, side: int) -> int:
        """Bootstrap samples of the Frechet distance of matrices with so many rows and columns."""
        asked = self.config.resamples
        if "resamples" in self.config.model_fields_set or side <= QUICK:
            return asked
        return min(asked, max(FEWEST, round(asked * (QUICK / side) ** 2)))

    def _frechet(self, ours: Tensor, real: Tensor) -> Measure:
        a, b = ours.numpy(), real.numpy()

        def resampled(rng: np.random.Generator) -> float:
            return frechet(a[rng.integers(len(a), size=len(a))], b[rng.integers(len(b), size=len(b))])

        few = f"fewer than {ENOUGH} images: too large; compare at equal N alone" if len(a) < ENOUGH else ""
        resamples = self._resamples(min(a.shape[1], max(len(a), len(b))))
        value = frechet(a, b)
        interval = spread_interval(value, resampled, resamples)
        provenance = self._provenance(f"{resamples} bootstrap samples, conservative interval")
        return Measure(value, len(a), *interval, "", provenance, few, "lower")

    def _kernel(self, ours: Tensor, real: Tensor) -> Measure:
        a, b = ours.numpy(), real.numpy()
        size = min(SUBSET, len(a), len(b))
        subsets = SUBSETS if max(len(a), len(b)) > size else 1
        value = kernel_distance(a, b, size, subsets)
        a, b = a[: 2 * SUBSET], b[: 2 * SUBSET]
        kernels = [polynomial(x, y) for x, y in ((a, a), (a, b), (b, b))]

        def resampled(rng: np.random.Generator) -> float:
            i, j = rng.integers(len(a), size=len(a)), rng.integers(len(b), size=len(b))
            return mmd(kernels[0][np.ix_(i, i)], kernels[1][np.ix_(i, j)], kernels[2][np.ix_(j, j)], i, j)

        interval = spread_interval(value, resampled, self.config.resamples)
        provenance = self._provenance(f"{subsets} {'subsets' if subsets > 1 else 'subset'} of {size}")
        return Measure(value, len(ours), *interval, "", provenance, "", "lower")

    def _share(self, ours: Tensor, real: Tensor, which: str) -> Measure:
        inner, outer = (ours, real) if which == "precision" else (real, ours)
        share = covered(torch.cdist(outer, outer).numpy(), torch.cdist(outer, inner).numpy())
        low, high = share_interval(share, inner, outer, self.config.resamples)
        provenance = self._provenance("interval from random halves")
        return Measure(100 * share, len(inner), 100 * low, 100 * high, "%", provenance, "", "higher")


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Squared Frechet distance of the Gaussians through features (N, D) and (M, D).

    The trace of the root of the covariances' product is the nuclear norm of the product of their roots:
    the centred features themselves, or, where they are more than D, the triangles of their QR
    decompositions. No larger than min(N, D), where the eigenvalues of the product take D x D.
    """
    offset = a.mean(0) - b.mean(0)
    roots = [(x - x.mean(0)) / np.sqrt(len(x) - 1) for x in (a, b)]
    roots = [np.asarray(np.linalg.qr(x, mode="r")) if len(x) > x.shape[1] else x for x in roots]
    traces = sum(float((root**2).sum()) for root in roots)
    shared = float(np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum())
    return float(offset @ offset) + traces - 2 * shared


def polynomial(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The kernel (x . y / D + 1) ** 3 of features (N, D) and (M, D): (N, M)."""
    kernel: np.ndarray = (x @ y.T / x.shape[1] + 1) ** 3
    return kernel


def kernel_distance(a: np.ndarray, b: np.ndarray, size: int, subsets: int) -> float:
    """Mean over `subsets` random subsets of `size` of features (N, D) and (M, D) of `mmd`."""
    rng, every = np.random.RandomState(SEED), np.arange(size)
    found = []
    for _ in range(subsets):
        x, y = (features[rng.choice(len(features), size, replace=False)] for features in (a, b))
        found.append(mmd(polynomial(x, x), polynomial(x, y), polynomial(y, y), every, every))
    return float(np.mean(found))


def mmd(aa: np.ndarray, ab: np.ndarray, bb: np.ndarray, i: np.ndarray, j: np.ndarray) -> float:
    """Unbiased squared maximum mean discrepancy; pairs of an image with itself do not count.

    Args:
        aa, ab, bb: kernels (N, N), (N, M), (M, M).
        i, j: which image stands in each row (N,) and (M,), for they may repeat.
    """

    def off_diagonal(kernel: np.ndarray, rows: np.ndarray) -> float:
        different = rows[:, None] != rows[None]
        return float(kernel[different].mean())

    return off_diagonal(aa, i) + off_diagonal(bb, j) - 2 * float(ab.mean())
