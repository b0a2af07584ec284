"""Intervals and numbers of seeds, against SciPy and against simulated pairs whose effect is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from t2ikit.ablation.statistics import more_seeds, paired_difference, prompt_error, t_quantile


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 9, 30, 99])
@pytest.mark.parametrize("share", [0.6, 0.8, 0.975, 0.999])
def test_quantiles_of_t(freedom, share):
    assert t_quantile(share, freedom) == pytest.approx(stats.t.ppf(share, freedom), rel=1e-9)


@pytest.mark.parametrize("count", [2, 3, 8])
def test_the_interval_is_that_of_a_paired_t_test(count):
    rng = np.random.default_rng(count)
    without, with_it = rng.normal(size=(2, count))
    found = paired_difference(with_it - without)
    known = stats.ttest_rel(with_it, without).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((known.low, known.high), rel=1e-8)
    assert found.mean == pytest.approx((with_it - without).mean())


def simulated(rng, effect, seeds, prompts, of_seeds):
    """Scores of pairs: prompts that are hard for both, and a difference with chance of seed and prompt."""
    without = rng.normal(50, 20, (seeds, prompts)) + rng.normal(0, 3, (seeds, 1))
    more = effect + rng.normal(0, of_seeds, (seeds, 1)) + rng.normal(0, 10, (seeds, prompts))
    return without, without + more


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("of_seeds", [0.0, 2.0])
def test_the_interval_holds_the_effect_in_95_of_100_ablations(seeds, of_seeds):
    rng, held, effect, repeats = np.random.default_rng(1), 0, 4.0, 1500
    for _ in range(repeats):
        without, with_it = simulated(rng, effect, seeds, 50, of_seeds)
        values = with_it.mean(1) - without.mean(1)
        found = paired_difference(values, prompt_error(list(zip(with_it, without))))
        held += found.low <= effect <= found.high
    share = held / repeats
    assert share > 0.95 - 3 * math.sqrt(0.05 * 0.95 / repeats)
    if of_seeds:  # then the seeds' own scatter decides: not wider than need be, either
        assert share < 0.985


def test_an_interval_over_prompts_alone_would_be_too_narrow():
    """Why the unit is the seed: the witness that this simulation can tell."""
    rng, held, repeats = np.random.default_rng(2), 0, 1500
    for _ in range(repeats):
        without, with_it = simulated(rng, 4.0, 3, 50, 2.0)
        reach = 1.96 * prompt_error(list(zip(with_it, without)))
        held += abs((with_it - without).mean() - 4) <= reach
    assert held / repeats < 0.8  # about 0.74


def test_the_error_over_prompts():
    rng = np.random.default_rng(3)
    means, errors = [], []
    for _ in range(2000):
        without, with_it = simulated(rng, 0.0, 3, 50, 0.0)
        means.append((with_it - without).mean())
        errors.append(prompt_error(list(zip(with_it, without))))
    assert np.mean(errors) == pytest.approx(np.std(means), rel=0.05)


def test_seeds_that_lie_close_by_chance_do_not_make_the_interval_narrow():
    found = paired_difference([1.0, 1.0, 1.0], prompt_error=2.0)
    assert found.low == pytest.approx(1 - 1.96 * 2, abs=1e-3)


def test_one_seed_has_no_interval():
    found = paired_difference([3.0], prompt_error=1.0)
    assert (found.mean, found.low, found.high, more_seeds(found)) == (3.0, None, None, None)


@pytest.mark.parametrize("effect", [0.5, 0.8, 1.2])
def test_so_many_more_seeds_have_the_power(effect):
    """Against the noncentral t: enough for 80 %, and not far more."""
    values = np.array([-1.0, 0.0, 1.0]) + effect  # whose standard deviation is 1
    seeds = 3 + more_seeds(paired_difference(values))

    def power(count: int) -> float:
        limit = stats.t.ppf(0.975, count - 1)
        return float(stats.nct.sf(limit, count - 1, effect * math.sqrt(count)))

    assert power(seeds) > 0.78
    assert power(seeds - 2) < 0.8


def test_no_number_of_seeds_is_proposed_for_next_to_nothing():
    assert more_seeds(paired_difference([-1.0, 0.0, 1.01])) is None
    assert more_seeds(paired_difference([-1.0, 0.0, 1.0])) is None
