"""95 % intervals of what metrics compute."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Z = 1.959963984540054


def mean_interval(values: np.ndarray, resamples: int = 1000) -> tuple[float, float, float]:
    """Mean of independent values (N,), and its percentile bootstrap interval (always around the mean)."""
    values = np.asarray(values, dtype=np.float64)
    rng = np.random.default_rng(0)
    means = values[rng.integers(len(values), size=(resamples, len(values)))].mean(1)
    low, high = np.percentile(means, (2.5, 97.5))
    mean = float(values.mean())
    return mean, min(float(low), mean), max(float(high), mean)


def spread_interval(
    value: float, resampled: Callable[[np.random.Generator], float], resamples: int
) -> tuple[float, float]:
    """`value` plus and minus 1.96 standard deviations over bootstrap samples.

    For distances between sets: their bootstrap samples repeat pictures and so lie further apart, by which
    a percentile interval would miss the value; their spread is right to first order.
    """
    rng = np.random.default_rng(0)
    spread = float(np.std([resampled(rng) for _ in range(resamples)], ddof=1))
    return value - Z * spread, value + Z * spread
