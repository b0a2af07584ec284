"""The order of the method on data whose solution is known, and t2ikit's conformance checks."""

import pytest
import torch
from t2ikit_heun.plugin import HeunConfig
from t2ikit_heun.sampler import Heun, noise_levels

from t2ikit import Draws
from t2ikit.testing import check_plugin, check_sampler

SPREAD = 0.5


class Gaussian:
    """The best denoiser of images whose pixels are normal, of deviation SPREAD.

    On the path, x at level s has the variance (1 - s)^2 SPREAD^2 + s^2, so noise x arrives at SPREAD x.
    """

    def at_flow(self, x, sigma):
        """The clean images' mean, given x."""
        signal = (1 - sigma) * SPREAD**2
        return signal / ((1 - sigma) * signal + sigma**2) * x


def error(steps: int) -> float:
    """How far from the solution so many steps end."""
    noise = torch.ones(1, 3, 1, 1, dtype=torch.float64)
    *_, last = Heun(HeunConfig()).denoise_loop(Gaussian(), noise, steps, Draws(torch.arange(1), 0))
    return float((last - SPREAD * noise).abs().max())


def test_it_is_of_second_order():
    assert error(64) < 1e-3
    assert error(32) / error(64) == pytest.approx(4, rel=0.15)


def test_levels_go_from_noise_to_images():
    assert noise_levels(4, 1.0) == [1, 0.75, 0.5, 0.25, 0]
    assert noise_levels(4, 2.0)[1:3] == [0.75**2, 0.25]


def test_it_obeys_t2ikit():
    check_plugin("heun")
    check_sampler("heun/heun", rho=3.0)
