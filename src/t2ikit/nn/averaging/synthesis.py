"""An average of any length, out of stored power-function averages.

Source: arXiv 2312.02696, section 3.2 and appendix C. Each average is an integral of the weights over training
time, weighted by its profile p(s) = (gamma + 1) s ** gamma / t ** (gamma + 1) on [0, t], and nothing after t.
The sum of stored averages whose profile is nearest to the wanted one stands for the wanted average.

Here the coefficients add up to 1, which the paper does not ask for: so weights that stood still during
training come out as they are, however few averages are stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Profile:
    """Which weights of a training count in an average, and how much.

    Attributes:
        time: steps after which it was taken, at least 1; any unit will do if all profiles have it.
        gamma: exponent of the power function, above -0.5.
    """

    time: float
    gamma: float

    def dot(self, other: Profile) -> float:
        """The integral of the product of both profiles over training time."""
        early, late = sorted((self, other), key=lambda profile: profile.time)
        scale = (early.gamma + 1) * (late.gamma + 1) / (early.gamma + late.gamma + 1)
        return scale * float((early.time / late.time) ** late.gamma) / late.time


def coefficients(stored: Sequence[Profile], wanted: Profile) -> tuple[np.ndarray, float]:
    """How much of each stored average makes the wanted one: the least squares whose sum is 1.

    Args:
        stored: N profiles, no two of them equal.
        wanted: the profile to come near to.

    Returns:
        (N,) float64 coefficients, and the distance that is left between the profiles: the root of the
        integral of the squared difference, as a share of the wanted profile's own.
    """
    count = len(stored)
    system, right = np.ones((count + 1, count + 1)), np.ones(count + 1)
    system[:count, :count] = [[one.dot(other) for other in stored] for one in stored]
    right[:count] = [one.dot(wanted) for one in stored]
    system[count, count] = 0  # the last row and column hold the sum at 1, by a Lagrange multiplier
    scale = np.append(np.diag(system)[:count] ** -0.5, 1)
    solved = scale * np.linalg.lstsq(scale[:, None] * system * scale, scale * right, rcond=1e-13)[0]
    found = solved[:count]
    length = wanted.dot(wanted)
    left = length - 2 * found @ right[:count] + found @ system[:count, :count] @ found
    return found, float(np.sqrt(max(left, 0.0) / length))
