"""Function evaluations: what samplers report, and what is said of a sampler that reports none."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from test_samplers import KEYS, SAMPLERS

from imagen_support import make_condition, make_model
from t2ikit import Draws, EvaluationResult, Sampler
from t2ikit.sampling.costs import measure_costs


class Silent(Sampler):
    """A sampler that reports nothing."""

    def __call__(self, model, condition, *, steps=None, guidance=None, draws, progress=None):
        with torch.no_grad():
            return model.denoise(draws.randn(3, 16, 16), torch.full((len(condition),), 500), condition)


def costs_of(sampler, network, monkeypatch, calls=1, **options):
    """The costs of some calls of a sampler, and how many images the network was called with."""
    rows, inner = [], network.denoise
    monkeypatch.setattr(network, "denoise", lambda x, *a: rows.append(len(x)) or inner(x, *a))
    model = SimpleNamespace(sampler=sampler, context=SimpleNamespace(device=torch.device("cpu")))
    with measure_costs(model, 3 * calls) as spent:
        for _ in range(calls):
            sampler(network, make_condition(), draws=Draws(KEYS, "sample"), **options)
    return spent(), sum(rows)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize(("guidance", "branches"), [(0.0, 1), (1.0, 1), (3.0, 2)])
def test_samplers_report_the_calls_of_the_network(name, guidance, branches, monkeypatch):
    kind, config = SAMPLERS[name]
    costs, rows = costs_of(kind(config(steps=4)), make_model(), monkeypatch, guidance=guidance)
    assert costs.calls == rows / 3 == 4 * branches
    assert costs.images == 3


def test_calls_outside_the_guidance_interval_count_once(monkeypatch):
    kind, config = SAMPLERS["ddim"]
    sampler = kind(config(steps=4, guidance_interval=(0.3, 0.6)))
    costs, rows = costs_of(sampler, make_model(), monkeypatch, calls=2, guidance=3.0)
    assert costs.calls == rows / 6
    assert 4 < costs.calls < 8


def test_of_a_sampler_that_reports_none_no_number_is_shown(monkeypatch):
    costs, rows = costs_of(Silent(), make_model(), monkeypatch)
    assert rows == 3
    assert costs.calls is None
    text = EvaluationResult({}, {}, costs).text()
    assert "sampling an image" in text
    assert "network calls" not in text
