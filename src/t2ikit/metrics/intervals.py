"""95 % intervals of what metrics compute."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from t2ikit.metrics.prompt_accuracy import wilson

Z = 1.959963984540054
FEWEST = 5
"""Of fewer images there is neither a distance nor an interval of a mean."""


def mean_interval(values: np.ndarray, resamples: int = 1000) -> tuple[float, float | None, float | None]:
    """Mean of independent values (N,), and its percentile bootstrap interval (always around the mean).

    None in place of an interval of fewer than FEWEST values, of which a bootstrap scatters far too little.
    """
    values = np.asarray(values, dtype=np.float64)
    if len(values) < FEWEST:
        return float(values.mean()), None, None
    rng = np.random.default_rng(0)
    means = values[rng.integers(len(values), size=(resamples, len(values)))].mean(1)
    low, high = np.percentile(means, (2.5, 97.5))
    mean = float(values.mean())
    return mean, min(float(low), mean), max(float(high), mean)


def spread_interval(
    value: float, resampled: Callable[[np.random.Generator], float], resamples: int
) -> tuple[float, float]:
    """`value` plus and minus 1.96 standard deviations over resamples.

    For distances between sets: their bootstrap samples repeat images and so lie further apart, by which
    a percentile interval would miss the value. They also scatter more than new sets do, which makes the
    interval conservative: of the Frechet distance 1.3 to 2.5 times as wide as it need be, of the kernel
    distance up to 1.6 times, most where the sets are small and alike.
    """
    rng = np.random.default_rng(0)
    spread = float(np.std([resampled(rng) for _ in range(resamples)], ddof=1))
    return value - Z * spread, value + Z * spread


def below_interval(
    ours: np.ndarray, real: np.ndarray, quantile: float, resamples: int = 1000
) -> tuple[float, float]:
    """Of the share of values (N,) below a quantile of others (M,), in [0, 1].

    The bootstrap over both sets, for the quantile is an estimate, too; no narrower than Wilson's, for where
    the share is 0 or 1 a bootstrap sees no scatter.
    """
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(resamples):
        limit = np.quantile(real[rng.integers(len(real), size=len(real))], quantile)
        shares.append(np.mean(ours[rng.integers(len(ours), size=len(ours))] < limit))
    low, high = np.percentile(shares, (2.5, 97.5))
    least, most = wilson(int((ours < np.quantile(real, quantile)).sum()), len(ours))
    return min(float(low), least), max(float(high), most)
