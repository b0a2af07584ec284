"""Power-function averages and their synthesis beside slow float64 references (arXiv 2312.02696)."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from test_ema import Mixed

from t2ikit.nn.averaging.power import PowerAverages, exponent
from t2ikit.nn.averaging.synthesis import Profile, coefficients
from t2ikit.testing.operations import CountedOperations, NoWaiting

GRID = (np.arange(40_000) + 0.5) / 40_000
"""Midpoints of training time, which is 1 long."""


def density(profile: Profile) -> np.ndarray:
    """A profile on the grid, from nothing but that it is in proportion to s ** gamma up to its time."""
    values = np.where(profile.time > GRID, GRID**profile.gamma, 0.0)
    return values / values.mean()


@pytest.mark.parametrize("width", [0.01, 0.05, 0.1, 0.2, 0.28])
def test_an_exponent_gives_a_profile_of_its_width(width):
    p = density(Profile(1.0, exponent(width)))
    mean = (p * GRID).mean()
    assert np.sqrt((p * (GRID - mean) ** 2).mean()) == pytest.approx(width, rel=1e-3)


def test_an_average_weighs_each_step_by_the_integral_of_its_profile():
    torch.manual_seed(0)
    module, steps = Mixed(), 12
    averages, seen = PowerAverages(module, (0.1, 0.25)), []
    for _ in range(steps):
        module.move()
        averages.step()
        seen.append({name: p.detach().double().clone() for name, p in module.named_parameters()})
    for width, average in averages.averages.items():
        p = density(Profile(1.0, exponent(width)))
        shares = [
            p[(steps * GRID >= step) & (steps * GRID < step + 1)].sum() / len(p) for step in range(steps)
        ]
        assert set(average) == {name for name, p in module.named_parameters() if p.requires_grad}
        for name, found in average.items():
            expected = sum(share * at[name] for share, at in zip(shares, seen))
            assert found.dtype == torch.float32  # of a bfloat16 parameter, too
            torch.testing.assert_close(found.double(), expected, atol=2e-4, rtol=0)


def test_a_step_waits_for_nothing_and_is_a_few_operations():
    module = Mixed()
    averages = PowerAverages(module)
    with CountedOperations() as counted, NoWaiting():
        averages.step()
    assert counted.counts.pop("_to_copy") == 1  # the bfloat16 parameter
    assert counted.counts == {"_foreach_lerp_": 2}  # of two averages


def test_loaded_averages_go_on():
    module = Mixed()
    first = PowerAverages(module)
    module.move()
    first.step()
    second = PowerAverages(copy.deepcopy(module))
    second.load(first.averages, first.steps)
    first.step()
    second.step()
    for width, average in first.averages.items():
        assert all(torch.equal(average[name], second.averages[width][name]) for name in average)


STORED = [Profile(time, exponent(width)) for time in (0.25, 0.5, 0.75, 1.0) for width in (0.05, 0.1)]


def test_dot_is_the_integral_of_the_product():
    for one in STORED:
        for other in STORED:
            assert one.dot(other) == pytest.approx((density(one) * density(other)).mean(), rel=2e-3)


@pytest.mark.parametrize("width", [0.02, 0.07, 0.15, 0.25])
@pytest.mark.parametrize("time", [0.75, 1.0])
def test_coefficients_are_the_least_squares_of_sampled_profiles(width, time):
    """The witness: profiles sampled on the grid, the sum held at 1 by leaving one coefficient out."""
    stored = [profile for profile in STORED if profile.time <= time]
    wanted = Profile(time, exponent(width))
    matrix, goal = np.stack([density(profile) for profile in stored], 1), density(wanted)
    free = np.linalg.lstsq(matrix[:, 1:] - matrix[:, :1], goal - matrix[:, 0], rcond=None)[0]
    expected = np.append(1 - free.sum(), free)
    found, far = coefficients(stored, wanted)
    np.testing.assert_allclose(found, expected, atol=0.02)
    assert found.sum() == pytest.approx(1, abs=1e-9)
    left = np.sqrt(((matrix @ expected - goal) ** 2).mean() / (goal**2).mean())
    assert far == pytest.approx(left, abs=2e-3)


@pytest.mark.parametrize("place", range(len(STORED)))
def test_a_stored_profile_is_given_back(place):
    found, far = coefficients(STORED, STORED[place])
    np.testing.assert_allclose(found, np.eye(len(STORED))[place], atol=1e-6)
    assert far < 1e-6


@pytest.mark.parametrize(("width", "percent"), [(0.04, 2), (0.15, 2), (0.2, 4), (0.25, 11)])
def test_twelve_stored_steps_are_as_near_as_the_docs_say(width, percent):
    stored = [Profile(k + 1, exponent(kept)) for k in range(12) for kept in (0.05, 0.1)]
    found, far = coefficients(stored, Profile(12, exponent(width)))
    assert round(100 * far) == percent
    assert (found**2).sum() < 3.5


def test_more_stored_averages_come_nearer():
    far = [
        coefficients(
            [Profile((k + 1) / count, exponent(w)) for k in range(count) for w in (0.05, 0.1)],
            Profile(1.0, exponent(0.2)),
        )[1]
        for count in (2, 4, 8, 12, 32)
    ]
    assert far == sorted(far, reverse=True)
    assert far[3] < 0.05
    assert far[4] < 0.01
