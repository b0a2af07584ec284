"""Distances between drawn and real pictures in the features of a frozen network.

Sources: Frechet distance, arXiv 1706.08500 (section 3); kernel distance, arXiv 1801.01401 (section 3);
precision and recall, arXiv 1904.06991 (section 2). The values are torch-fidelity's; only the intervals are
computed here. The Frechet distance's are conservative, see `spread_interval`.

Letters: N and M pictures, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from t2ikit.interfaces import Drawn, Measure, NotMeasured
from t2ikit.metrics.configs import FeatureConfig
from t2ikit.metrics.coverage import share_interval
from t2ikit.metrics.features import Features, library, to_bytes
from t2ikit.metrics.identity import versions
from t2ikit.metrics.intervals import spread_interval

SUBSET = 1000
"""Pictures of a subset of the kernel distance, as published."""
ENOUGH = 2048
"""Below so many pictures the Frechet distance is known to come out too large."""
QUICK, FEWEST = 512, 10
"""Up to so many pictures or features, the Frechet distance is resampled as often as is asked. Beyond, as the
time of one grows with their cube, resamples become fewer with their square, but not fewer than FEWEST."""


class FeatureDistance:
    """A metric: any of "frechet", "kernel", "precision" and "recall", under names of their own.

    Args:
        config: batch and resamples.
        features: opens the network; called once, when first needed.
        names: what each measure is called, in the order they are shown.
        readable: whether the network can make sense of the prompts' pictures; None: of any.
        network: what the network's numbers depend on, beside torch-fidelity.
    """

    def __init__(
        self,
        config: FeatureConfig,
        features: Callable[[], Features],
        names: dict[str, str],
        readable: Callable[[Sequence[str]], bool] | None = None,
        network: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self.config, self.open, self.names, self.readable = config, features, names, readable
        self.network = network
        self._features: Features | None = None

    def stands_on(self) -> dict[str, str]:
        """What its numbers depend on beside its options."""
        return {**versions("torch-fidelity"), **self.network()}

    def __call__(self, drawn: Drawn) -> dict[str, Measure]:
        """Measure the drawn pictures against the real ones of the same prompts.

        Raises:
            NotMeasured: there are no real pictures, too few, or the network cannot be had.
        """
        if self.readable is not None and not self.readable(drawn.prompts):
            raise NotMeasured("its features tell creatures apart, and these prompts ask for something else")
        if drawn.real is None:
            raise NotMeasured("needs a real picture of each prompt, and the dataset has none for some")
        if len(drawn.images) < 5:
            raise NotMeasured(f"needs at least 5 pictures, got {len(drawn.images)}")
        library("torch_fidelity")
        if self._features is None:
            self._features = self.open()
        ours, real = (self._features(images, self.config.batch) for images in (drawn.images, drawn.real))
        computed = {
            "frechet": lambda: self._frechet(ours, real),
            "kernel": lambda: self._kernel(ours, real),
            "precision": lambda: self._share(ours, real, "precision"),
            "recall": lambda: self._share(ours, real, "recall"),
        }
        measures = {name: computed[kind]() for kind, name in self.names.items()}
        different = len({picture.numpy().tobytes() for picture in to_bytes(drawn.real)})
        if different == len(drawn.real):
            return measures
        few = f"only {different} of {len(drawn.real)} real pictures are different"
        return {
            name: replace(one, warning="; ".join(filter(None, (one.warning, few))))
            for name, one in measures.items()
        }

    def _provenance(self, how: str) -> str:
        assert self._features is not None
        version = versions("torch-fidelity")["torch-fidelity"]
        return f"{self._features.name}, torch-fidelity {version}, a real picture a prompt, {how}"

    def _resamples(self, side: int) -> int:
        """Bootstrap samples of the Frechet distance of matrices with so many rows and columns."""
        asked = self.config.resamples
        if "resamples" in self.config.model_fields_set or side <= QUICK:
            return asked
        return min(asked, max(FEWEST, round(asked * (QUICK / side) ** 2)))

    def _frechet(self, ours: Tensor, real: Tensor) -> Measure:
        fid = library("torch_fidelity.metric_fid")
        statistics = [fid.fid_features_to_statistics(x) for x in (ours, real)]
        value = fid.fid_statistics_to_metric(*statistics, False)["frechet_inception_distance"]
        a, b = ours.double().numpy(), real.double().numpy()

        def again(rng: np.random.Generator) -> float:
            return frechet(a[rng.integers(len(a), size=len(a))], b[rng.integers(len(b), size=len(b))])

        few = f"fewer than {ENOUGH} pictures: too large; compare at equal N alone" if len(a) < ENOUGH else ""
        resamples = self._resamples(min(a.shape[1], max(len(a), len(b))))
        interval = spread_interval(value, again, resamples)
        provenance = self._provenance(f"{resamples} bootstrap samples, conservative interval")
        return Measure(value, len(a), *interval, "", provenance, few, "lower")

    def _kernel(self, ours: Tensor, real: Tensor) -> Measure:
        kid = library("torch_fidelity.metric_kid")
        size = min(SUBSET, len(ours), len(real))
        subsets = 100 if max(len(ours), len(real)) > size else 1
        options = {"kid_subset_size": size, "kid_subsets": subsets, "verbose": False}
        value = kid.kid_features_to_metric(ours, real, **options)["kernel_inception_distance_mean"]
        a, b = (x.double().numpy()[: 2 * SUBSET] for x in (ours, real))
        kernels = [kid.kernel_poly(x, y) for x, y in ((a, a), (a, b), (b, b))]

        def again(rng: np.random.Generator) -> float:
            i, j = rng.integers(len(a), size=len(a)), rng.integers(len(b), size=len(b))
            return mmd(kernels[0][np.ix_(i, i)], kernels[1][np.ix_(i, j)], kernels[2][np.ix_(j, j)], i, j)

        interval = spread_interval(value, again, self.config.resamples)
        provenance = self._provenance(f"{subsets} {'subsets' if subsets > 1 else 'subset'} of {size}")
        return Measure(value, len(ours), *interval, "", provenance, "", "lower")

    def _share(self, ours: Tensor, real: Tensor, which: str) -> Measure:
        prc = library("torch_fidelity.metric_prc")
        share = prc.prc_features_to_metric(ours, real, verbose=False, save_cpu_ram=True)[which]
        inner, outer = (ours, real) if which == "precision" else (real, ours)
        low, high = share_interval(share, inner, outer, self.config.resamples)
        provenance = self._provenance("interval from random halves")
        return Measure(100 * share, len(inner), 100 * low, 100 * high, "%", provenance, "", "higher")


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Squared Frechet distance of the Gaussians through features (N, D) and (M, D).

    The trace of the root of the covariances' product is the nuclear norm of the product of their roots:
    the centred features themselves, or, where they are more than D, the triangles of their QR
    decompositions. No larger than min(N, D), where torch-fidelity's eigenvalues take D x D.
    """
    offset = a.mean(0) - b.mean(0)
    roots = [(x - x.mean(0)) / np.sqrt(len(x) - 1) for x in (a, b)]
    roots = [np.asarray(np.linalg.qr(x, mode="r")) if len(x) > x.shape[1] else x for x in roots]
    traces = sum(float((root**2).sum()) for root in roots)
    shared = float(np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum())
    return float(offset @ offset) + traces - 2 * shared


def mmd(aa: np.ndarray, ab: np.ndarray, bb: np.ndarray, i: np.ndarray, j: np.ndarray) -> float:
    """Unbiased squared maximum mean discrepancy; pairs of a picture with itself do not count.

    Args:
        aa, ab, bb: kernels (N, N), (N, M), (M, M).
        i, j: which picture stands in each row (N,) and (M,), for they may repeat.
    """

    def off_diagonal(kernel: np.ndarray, rows: np.ndarray) -> float:
        different = rows[:, None] != rows[None]
        return float(kernel[different].mean())

    return off_diagonal(aa, i) + off_diagonal(bb, j) - 2 * float(ab.mean())
