"""The spectrum against a sum over directions, and t2ikit's conformance checks."""

import math

import pytest
import torch
from t2ikit_spectrum.metric import distance, spectra

from t2ikit.testing import check_metric, check_plugin


def slow_spectrum(image):
    """Power of one image (C, H, H) by frequency, as a sum over pixels for each direction."""
    size = image.shape[-1]
    found = {}
    for u in range(size):
        for v in range(size):
            waves = [k if k <= size // 2 else k - size for k in (u, v)]
            radius = round(math.hypot(*waves))
            phase = torch.arange(size).double() * (-2 * math.pi / size)
            turn = torch.exp(1j * (u * phase[:, None] + v * phase[None, :]))
            power = ((image.double() * turn).sum((1, 2)).abs() ** 2 / size**2).mean()
            found.setdefault(radius, []).append(float(power))
    return [sum(found[radius]) / len(found[radius]) for radius in range(1, size // 2 + 1)]


def test_it_is_the_radial_average_of_the_power():
    image = torch.rand(3, 8, 8) * 2 - 1
    assert spectra(image[None])[0].tolist() == pytest.approx(slow_spectrum(image), rel=1e-6)


def test_the_distance_is_in_decibels():
    images = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert float(distance(spectra(images), spectra(images), 1e-9)) == 0
    assert float(distance(spectra(images * 10), spectra(images), 1e-9)) == pytest.approx(20, abs=1e-3)


def test_it_obeys_t2ikit():
    check_plugin("spectrum")
    check_metric("spectrum/spectrum", resamples=20)
