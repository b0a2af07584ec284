"""Sampling with replayed calls gives the images that it gives without, and goes on where it cannot."""

from __future__ import annotations

import pytest
import torch
from recorder import OnCPU

from imagen_support import make_condition, make_model, options
from t2ikit import Draws
from t2ikit.core.interfaces import Sampler
from t2ikit.sampling.graphs import DenoiserGraphs, capturing
from t2ikit_imagen import DDIMConfig, DDIMSampler, FlowConfig, FlowSampler

KEYS = torch.tensor([5, 6, 7])


def sample(model, sampler, graphs=None):
    sampler.graphs = graphs
    return sampler(model, make_condition(), draws=Draws(KEYS, "s"))


@pytest.mark.parametrize("sampler", [DDIMSampler(DDIMConfig(steps=8)), FlowSampler(FlowConfig(steps=8))])
@pytest.mark.parametrize("more", [{}, {"self_conditioning": 0.5}])
def test_replayed_calls_give_the_same_images(sampler, more):
    model = make_model(options(**more), speaks=True).eval()
    calls = []
    model.register_forward_pre_hook(lambda *_: calls.append(1))
    denoise, asked = model.denoise, []
    model.denoise = lambda *given: asked.append(1) or denoise(*given)
    plain = sample(model, sampler)
    graphs = DenoiserGraphs(OnCPU())
    assert len(asked) == 8
    replayed = [sample(model, sampler, graphs) for _ in range(2)]
    assert torch.equal(replayed[0], plain)
    assert torch.equal(replayed[1], plain)
    assert len(asked) < 8 + 8  # of sixteen more calls, most ran no Python
    assert graphs.graphs is not None


def test_every_weight_of_guidance_has_its_graph():
    model = make_model(speaks=True).eval()
    sampler = DDIMSampler(DDIMConfig(steps=12, guidance=4.0, guidance_interval=(0.2, 0.6)))
    graphs = DenoiserGraphs(OnCPU())
    assert torch.equal(sample(model, sampler, graphs), sample(model, sampler))
    assert len(graphs.graphs) == 2


def waits(output):
    return output * output.abs().max().item()


def test_a_model_that_cannot_be_captured_is_called_as_it_is():
    model = make_model(speaks=True).eval()
    denoise = model.denoise
    model.denoise = lambda *given: waits(denoise(*given))
    sampler, graphs = DDIMSampler(DDIMConfig(steps=6)), DenoiserGraphs(OnCPU())
    assert torch.equal(sample(model, sampler, graphs), sample(model, sampler))
    assert graphs.graphs is None


def test_a_model_whose_replay_differs_is_called_as_it_is():
    model = make_model(speaks=True).eval()
    denoise, asked = model.denoise, []
    model.denoise = lambda *given: asked.append(1) or denoise(*given) * (1 + len(asked))
    sampler, graphs = DDIMSampler(DDIMConfig(steps=6)), DenoiserGraphs(OnCPU())
    plain = sample(model, sampler)
    asked.clear()
    graphs_off = sample(model, sampler, graphs)
    assert graphs.graphs is None
    assert graphs_off.isfinite().all()
    assert plain.shape == graphs_off.shape


def test_nothing_is_captured_on_a_cpu():
    sampler = DDIMSampler(DDIMConfig())
    with capturing(sampler, torch.device("cpu")):
        assert sampler.graphs is Sampler.graphs is None
