"""Paired differences of training runs: intervals over seeds, and how many seeds would show a difference.

The unit is the seed: the weights at the start, the order of the data, the noise and the prompts of the
evaluation all follow from it, and are the same with and without what is tested. So one seed gives one
difference, and the differences of several are independent. Their mean has Student's interval (Biometrika 6,
1908), whose width covers the randomness of training and of the prompts. More prompts at one seed are no
replacement for more seeds (arXiv 2103.03098).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

CONFIDENCE = 0.975
"""Share of the distribution below the upper end of a two-sided 95 % interval."""
POWER = 0.8
"""Share of repetitions in which the proposed number of seeds shows a difference that is there."""
MOST_SEEDS = 100
"""Beyond so many seeds, none are proposed."""


@dataclass(frozen=True)
class Difference:
    """With minus without.

    Attributes:
        values: one for each seed.
        mean: of these.
        error: standard error of the mean; None of a single seed.
        low, high: the 95 % interval of the mean; None of a single seed.
    """

    values: tuple[float, ...]
    mean: float
    error: float | None = None
    low: float | None = None
    high: float | None = None


def paired_difference(values: Sequence[float], prompt_error: float = 0.0) -> Difference:
    """The mean of differences, one for each seed, with its interval.

    Few seeds may lie close together by chance. An interval is therefore never narrower than the chance of the
    prompts alone allows, which is known better, from hundreds of pairs.

    Args:
        values: with minus without, one for each seed.
        prompt_error: standard error of the mean over the prompts alone; see `prompt_error`.
    """
    found = np.asarray(values, dtype=np.float64)
    mean, count = float(found.mean()), len(found)
    if count < 2:
        return Difference(tuple(map(float, found)), mean)
    between = float(found.std(ddof=1)) / math.sqrt(count)
    reach = max(t_quantile(CONFIDENCE, count - 1) * between, NormalDist().inv_cdf(CONFIDENCE) * prompt_error)
    return Difference(tuple(map(float, found)), mean, max(between, prompt_error), mean - reach, mean + reach)


def prompt_error(scores: Sequence[tuple[Sequence[float], Sequence[float]]]) -> float:
    """Standard error over prompts alone of the mean over seeds of the difference of scores.

    Args:
        scores: for each seed those with and those without, one for each prompt, in the same order.
    """
    variances = []
    for with_it, without in scores:
        differences = np.asarray(with_it, dtype=np.float64) - np.asarray(without, dtype=np.float64)
        if len(differences) > 1:
            variances.append(differences.var(ddof=1) / len(differences))
    return math.sqrt(sum(variances)) / len(scores) if variances else 0.0


def more_seeds(difference: Difference) -> int | None:
    """How many more seeds would show a difference as large as this one, in 4 of 5 repetitions.

    By the usual approximation of the t-test's power. None where more than MOST_SEEDS would be needed.
    """
    count = len(difference.values)
    if difference.error is None or difference.mean == 0:
        return None
    effect = abs(difference.mean) / (difference.error * math.sqrt(count)) if difference.error else math.inf
    for seeds in range(count + 1, MOST_SEEDS + 1):
        if effect * math.sqrt(seeds) >= t_quantile(CONFIDENCE, seeds - 1) + t_quantile(POWER, seeds - 1):
            return seeds - count
    return None


@functools.cache
def t_quantile(share: float, freedom: int) -> float:
    """The quantile of Student's t, for shares from 0.5 below 1, to 10 digits.

    Args:
        share: of the distribution below it.
        freedom: degrees of freedom, at least 1.
    """
    low, high = 0.0, 1.0
    while _within(high, freedom) < 2 * share - 1:
        high *= 2
    while high - low > 1e-11 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, freedom) < 2 * share - 1 else (low, middle)
    return high


def _within(t: float, freedom: int) -> float:
    """P(|T| < t), by the finite series of Abramowitz and Stegun, 26.7.3 and 26.7.4."""
    angle = math.atan(t / math.sqrt(freedom))
    odd, cosine = freedom % 2, math.cos(angle)
    term, total = cosine if odd else 1.0, 0.0
    for k in range(1, freedom // 2 + 1):
        total += term
        term *= (2 * k - 1 + odd) / (2 * k + odd) * cosine**2
    total *= math.sin(angle)
    return 2 / math.pi * (angle + total) if odd else total
