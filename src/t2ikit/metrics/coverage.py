"""How much of one set of images lies among another, and how sure that is. Source: arXiv 1904.06991.

Letters: N images that are looked for among M others.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from t2ikit.metrics.intervals import spread_interval
from t2ikit.metrics.prompt_accuracy import wilson

NEIGHBOUR = 3
"""An image's surroundings reach to its third neighbour, as published."""


def covered(among: np.ndarray, across: np.ndarray) -> float:
    """Share in [0, 1] of N images that lie no further from any of M than its third neighbour does.

    Args:
        among: distances (M, M) within the others.
        across: distances (M, N) from them.
    """
    reach = np.partition(among, NEIGHBOUR, axis=1)[:, NEIGHBOUR]
    return float((across <= reach[:, None]).any(0).mean())


def share_interval(share: float, ours: Tensor, others: Tensor, resamples: int) -> tuple[float, float]:
    """95 % interval of a share of features `ours` (N, D) among `others` (M, D), in [0, 1].

    The share of random halves of both sets, which scatters as that of whole new sets does; a bootstrap
    sample would repeat images, to which the nearest neighbour is then the image itself. No narrower
    than Wilson's interval, for where the share is 0 or 1 the halves do not scatter.
    """
    low, high = wilson(round(share * len(ours)), len(ours))
    n, m = len(ours) // 2, len(others) // 2
    if m <= NEIGHBOUR:
        return low, high
    among, across = torch.cdist(others, others).numpy(), torch.cdist(others, ours).numpy()

    def half(rng: np.random.Generator) -> float:
        i, j = rng.permutation(len(others))[:m], rng.permutation(len(ours))[:n]
        return covered(among[np.ix_(i, i)], across[np.ix_(i, j)])

    least, most = spread_interval(share, half, resamples)
    return max(0.0, min(low, least)), min(1.0, max(high, most))
