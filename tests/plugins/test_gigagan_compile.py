"""Layers and losses of the gigagan plugin under torch.compile: captured whole, with equal numbers."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from t2ikit_gigagan import (
    FilterBankConv2d,
    L2SelfAttention,
    MappingNetwork,
    Predictor,
    TextCrossAttention,
    TrunkBlock,
    clip_contrastive,
    downsample,
    logistic_critic,
    logistic_generator,
    matching_aware,
    r1_penalty,
    relativistic,
    upsample,
)

MASK = torch.tensor([[True, True, True], [True, False, False]])
RIGHT = torch.tensor([1.0, 0.0])
OWN, DUPLICATES = torch.tensor([0, 2]), torch.zeros(2, 3, dtype=torch.bool)

LAYERS = {
    "filter bank": (lambda: FilterBankConv2d(4, 6, style_width=5, filters=3), [(2, 4, 8, 8), (2, 5)]),
    "one kernel": (lambda: FilterBankConv2d(4, 6, style_width=5), [(2, 4, 8, 8), (2, 5)]),
    "L2 attention": (lambda: L2SelfAttention(8, 4), [(2, 8, 4, 4)]),
    "L2 attention, R1": (lambda: L2SelfAttention(8, 4, double_backward=True), [(2, 8, 4, 4)]),
    "mapping": (lambda: MappingNetwork(4, 3, 8), [(2, 4), (2, 3)]),
    "trunk": (lambda: TrunkBlock(4, 6, halve=True, head_width=4), [(2, 4, 8, 8)]),
    "predictor": (lambda: Predictor(4, 5, layers=2), [(2, 4, 4, 4), (2, 5)]),
}
FUNCTIONS = {
    "upsample": (upsample, [(2, 3, 4, 4)]),
    "downsample": (downsample, [(2, 3, 4, 4)]),
    "generator": (lambda fake: logistic_generator([fake], RIGHT), [(2,)]),
    "critic": (lambda real, fake: logistic_critic([real], [fake], RIGHT), [(2,), (2,)]),
    "matching": (lambda real, fake: matching_aware([real], [fake], RIGHT), [(2,), (2,)]),
    "relativistic": (lambda real, fake: relativistic([real], [fake]), [(2,), (2,)]),
    "contrastive": (
        lambda image, text: clip_contrastive(F.normalize(image, dim=1), text, OWN, DUPLICATES, 10.0),
        [(2, 4), (3, 4)],
    ),
}


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch.manual_seed(0)
    torch._dynamo.reset()


def check(function, inputs, weights=()):
    """The captured function's numbers and gradients are the plain one's."""
    inputs = [x.requires_grad_() for x in inputs]
    # aot_eager captures forward and backward as the default back end does, and needs no C++ compiler.
    compiled = torch.compile(function, backend="aot_eager", fullgraph=True)
    found = []
    for each in (function, compiled):
        y = each(*inputs)
        found.append([y, *torch.autograd.grad(y.square().sum(), [*inputs, *weights])])
    for plain, captured in zip(*found, strict=True):
        assert torch.allclose(plain, captured, atol=1e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_compiles_whole(name):
    build, shapes = LAYERS[name]
    layer = build()
    check(layer, [torch.randn(shape) for shape in shapes], list(layer.parameters()))


def test_cross_attention_compiles_whole():
    layer = TextCrossAttention(8, 5, 4)
    check(lambda x, tokens: layer(x, tokens, MASK), [torch.randn(2, 8, 4, 4), torch.randn(2, 3, 5)])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_compiles_whole(name):
    function, shapes = FUNCTIONS[name]
    check(function, [torch.randn(shape) for shape in shapes])


def test_r1_runs_under_the_compiler():
    """Its gradient of a gradient is left to run as it is; the critic before it must be plain, too."""
    weight = torch.randn(3, 8, 8)
    images = torch.randn(2, 3, 8, 8, requires_grad=True)
    penalties = []
    for function in (r1_penalty, torch.compile(r1_penalty, backend="aot_eager")):
        penalties.append(function([(images * weight).sum((1, 2, 3)).square()], [images]))
    assert torch.allclose(*penalties)
    assert penalties[0] > 0
