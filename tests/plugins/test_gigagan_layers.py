"""The gigagan layers beside slow float64 references, their gradients, and their traps."""

from __future__ import annotations

import math
import subprocess
import sys
from itertools import product

import pytest
import torch
import torch.nn.functional as F

from t2ikit import UserError
from t2ikit_gigagan import (
    FilterBankConv2d,
    L2SelfAttention,
    MappingNetwork,
    TextCrossAttention,
    choose_formulation,
    demodulation,
    downsample,
    filter_bank_conv2d,
    upsample,
)

SAMPLES, FILTERS, OUTPUTS, INPUTS = 3, 4, 5, 6


def bank_case(filters=FILTERS, side=3, size=8):
    torch.manual_seed(0)
    x = torch.randn(SAMPLES, INPUTS, size, size, dtype=torch.float64)
    bank = torch.randn(filters, OUTPUTS, INPUTS, side, side, dtype=torch.float64)
    modulation = torch.randn(SAMPLES, INPUTS, dtype=torch.float64)
    selection = torch.randn(SAMPLES, filters, dtype=torch.float64).softmax(1)
    return x, bank, modulation, selection


def slow_filter_bank(x, bank, modulation, selection, demodulate):
    """One sample and one kernel at a time, as the paper writes it."""
    out = []
    for b in range(len(x)):
        kernel = torch.zeros_like(bank[0])
        for n in range(len(bank)):
            kernel = kernel + selection[b, n] * bank[n]
        kernel = kernel * modulation[b][None, :, None, None]
        if demodulate:
            kernel = kernel / (kernel.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        out.append(F.conv2d(x[b : b + 1], kernel, padding=bank.shape[-1] // 2))
    return torch.cat(out)


@pytest.mark.parametrize("size", [4, 8])  # factors onto the images, onto the kernels
@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize("side", [1, 3])
@pytest.mark.parametrize(
    ("filters", "formulation"),
    [(1, "scale"), (1, "auto"), (1, "kernels"), (FILTERS, "kernels"), (FILTERS, "outputs")],
)
def test_every_formulation_is_the_paper_s(filters, formulation, side, demodulate, size):
    case = bank_case(filters, side, size)
    made = filter_bank_conv2d(*case, demodulate=demodulate, formulation=formulation)
    assert torch.allclose(made, slow_filter_bank(*case, demodulate), atol=1e-12)


@pytest.mark.parametrize(
    ("filters", "formulation", "size"),
    [(1, "scale", 3), (2, "kernels", 3), (2, "kernels", 5), (2, "outputs", 3)],
)
def test_gradients_and_gradients_of_gradients_of_the_filter_bank(filters, formulation, size):
    x, bank, modulation, selection = bank_case(filters, size=size)
    inputs = [t[:2].clone().requires_grad_() for t in (x[:, :2], modulation[:, :2], selection)]
    kernels = bank[:, :2, :2].clone().requires_grad_()

    def function(x, modulation, selection, kernels):
        return filter_bank_conv2d(x, kernels, modulation, selection, formulation=formulation)

    assert torch.autograd.gradcheck(function, (*inputs, kernels))
    assert torch.autograd.gradgradcheck(function, (*inputs, kernels))


def test_demodulation_without_kernels_a_sample_is_the_norm():
    _, bank, modulation, selection = bank_case()
    kernels = torch.einsum("bn,noikl,bi->boikl", selection, bank, modulation)
    assert torch.allclose(demodulation(bank, modulation, selection), kernels.flatten(2).norm(dim=2) ** -1)


def test_demodulated_outputs_have_unit_size_at_initialisation():
    torch.manual_seed(0)
    layer = FilterBankConv2d(32, 64, style_width=16, filters=4)
    y = layer(torch.randn(8, 32, 16, 16), torch.randn(8, 16)).detach()
    assert y.std() == pytest.approx(1, abs=0.1)


def test_the_style_selects_kernels():
    torch.manual_seed(0)
    layer = FilterBankConv2d(8, 8, style_width=4, filters=3)
    with torch.no_grad():
        layer.modulate.weight.zero_()  # only the selection is left to differ
    x = torch.randn(1, 8, 8, 8).expand(2, -1, -1, -1)
    a, b = layer(x, torch.randn(2, 4))
    assert (a - b).abs().max() > 0.05


@pytest.mark.parametrize(
    ("shape", "filters", "side", "expected"),
    [
        ((2, 512, 8, 8), 2, 3, "outputs"),
        ((2, 512, 64, 64), 8, 3, "kernels"),
        ((2, 512, 64, 64), 1, 3, "scale"),
        ((2, 32, 8, 8), 2, 3, "kernels"),
    ],
)
def test_the_automatic_formulation(shape, filters, side, expected):
    bank = torch.empty(filters, 4, shape[1], side, side)
    assert choose_formulation(torch.empty(shape), bank) == expected


@pytest.mark.parametrize(
    "change",
    [
        {"x": torch.zeros(SAMPLES, INPUTS + 1, 8, 8)},
        {"x": torch.zeros(SAMPLES, INPUTS, 8)},
        {"bank": torch.zeros(FILTERS, OUTPUTS, INPUTS, 2, 2)},
        {"bank": torch.zeros(OUTPUTS, INPUTS, 3, 3)},
        {"modulation": torch.zeros(SAMPLES + 1, INPUTS)},
        {"selection": torch.zeros(SAMPLES, FILTERS - 1)},
        {"selection": None},
        {"formulation": "scale"},
        {"formulation": "magic"},
    ],
)
def test_shapes_that_do_not_fit_are_refused(change):
    x, bank, modulation, selection = (t.float() for t in bank_case())
    case = {"x": x, "bank": bank, "modulation": modulation, "selection": selection, **change}
    with pytest.raises(UserError) as raised:
        filter_bank_conv2d(**case)
    assert raised.value.expected
    assert raised.value.fix


@pytest.mark.parametrize("options", [{"filters": 0}, {"kernel_size": 2}])
def test_a_bank_that_cannot_be_is_refused(options):
    with pytest.raises(UserError):
        FilterBankConv2d(4, 4, style_width=4, **options)


def slow_l2_attention(layer, x):
    """|q - k|^2 pixel by pixel and head by head."""
    _, C, H, W = x.shape
    d, heads = layer.head_width, layer.heads
    pixels = layer.norm(x).flatten(2).transpose(1, 2)
    shared, value = layer.shared(pixels), layer.value(pixels)
    out = torch.zeros_like(pixels)
    for b in range(len(x)):
        for head in range(heads):
            part = slice(head * d, head * d + d)
            q, v = shared[b, :, part], value[b, :, part]
            distance = (q[:, None] - q[None]).square().sum(-1)
            out[b, :, part] = (-layer.scale * distance).softmax(-1) @ v
    return x + layer.out(out).transpose(1, 2).view(-1, C, H, W)


@pytest.mark.parametrize("double_backward", [True, False])
def test_l2_attention_is_softmax_of_the_distance(double_backward):
    torch.manual_seed(0)
    layer = L2SelfAttention(8, 4, double_backward=double_backward).double()
    x = torch.randn(2, 8, 4, 4, dtype=torch.float64)
    assert torch.allclose(layer(x), slow_l2_attention(layer, x), atol=1e-10)


def test_l2_attention_has_gradients_of_gradients():
    torch.manual_seed(0)
    layer = L2SelfAttention(4, 4, double_backward=True)
    x = torch.randn(2, 4, 4, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
    gradient.square().sum().backward()
    assert x.grad.isfinite().all()
    assert x.grad.abs().max() > 0


@pytest.mark.parametrize("head_width", [16, 64])
def test_l2_attention_is_alive_at_initialisation(head_width):
    """No pixel sees itself alone, and logits spread by about 1."""
    torch.manual_seed(0)
    layer = L2SelfAttention(64, head_width)
    pixels = layer.norm(torch.randn(4, 64, 16, 16)).flatten(2).transpose(1, 2)
    shared = layer.shared(pixels).unflatten(2, (layer.heads, head_width)).transpose(1, 2)
    logits = -layer.scale * torch.cdist(shared, shared).square()
    others = logits[~torch.eye(256, dtype=torch.bool).expand_as(logits)]
    assert 0.5 < others.std() < 2
    own = logits.softmax(-1).diagonal(dim1=-2, dim2=-1).mean()
    assert own < 0.6


def test_queries_and_keys_are_tied():
    names = dict(L2SelfAttention(8, 4).named_parameters())
    assert "shared.weight" in names
    assert not any("query" in name or "key" in name for name in names)


def cross_case():
    torch.manual_seed(0)
    layer = TextCrossAttention(8, 6, 4).double()
    x = torch.randn(3, 8, 4, 4, dtype=torch.float64)
    tokens = torch.randn(3, 5, 6, dtype=torch.float64)
    mask = torch.arange(5) < torch.tensor([5, 3, 1])[:, None]
    return layer, x, tokens, mask


def test_cross_attention_is_softmax_over_real_tokens():
    layer, x, tokens, mask = cross_case()
    query = layer.query(layer.norm(x).flatten(2).transpose(1, 2))
    key, value = layer.key_value(tokens).chunk(2, -1)
    seen = torch.zeros_like(query)
    for b in range(3):
        real = int(mask[b].sum())
        for head in range(2):
            part = slice(4 * head, 4 * head + 4)
            logits = query[b, :, part] @ key[b, :real, part].T / math.sqrt(4)
            seen[b, :, part] = logits.softmax(-1) @ value[b, :real, part]
    expected = x + layer.out(seen).transpose(1, 2).view_as(x)
    assert torch.allclose(layer(x, tokens, mask), expected, atol=1e-10)


def test_cross_attention_ignores_padding_and_never_mixes_samples():
    layer, x, tokens, mask = cross_case()
    before = layer(x, tokens, mask)
    padded = torch.where(mask[..., None], tokens, torch.full_like(tokens, 1e3))
    assert torch.allclose(layer(x, padded, mask), before, atol=1e-12)
    other = tokens.clone()
    other[0] += 1
    after = layer(x, other, mask)
    assert not torch.allclose(after[0], before[0], atol=1e-6)
    assert torch.equal(after[1:], before[1:])


def test_gradients_of_the_attentions():
    layer, x, tokens, mask = cross_case()
    x, tokens = x[:2, :, :2, :2].clone().requires_grad_(), tokens[:2].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x, t: layer(x, t, mask[:2]), (x, tokens))
    own = L2SelfAttention(8, 4).double()
    assert torch.autograd.gradcheck(own, (x,))


@pytest.mark.parametrize("wrong", [{"tokens": (2, 5, 6)}, {"tokens": (3, 5, 7)}, {"mask": (3, 4)}])
def test_cross_attention_refuses_texts_that_do_not_fit(wrong):
    layer, x, tokens, mask = cross_case()
    tokens = torch.zeros(wrong.get("tokens", tokens.shape), dtype=torch.float64)
    mask = torch.ones(wrong.get("mask", mask.shape), dtype=torch.bool)
    with pytest.raises(UserError, match="do not fit"):
        layer(x, tokens, mask)


@pytest.mark.parametrize("layer", [L2SelfAttention, lambda c, h: TextCrossAttention(c, 4, h)])
def test_channels_must_divide_into_heads(layer):
    with pytest.raises(UserError, match="heads"):
        layer(10, 4)


def test_latent_and_text_both_move_the_style():
    """In other implementations a new latent moved the style by 6 %, a new text by 75 %."""
    torch.manual_seed(0)
    mapping = MappingNetwork(32, 64, 48)
    z, text = torch.randn(256, 32), 3 * torch.randn(256, 64)
    style = mapping(z, text)
    moved = [(mapping(a, b) - style).norm() / style.norm() for a, b in ((z.flip(0), text), (z, text.flip(0)))]
    assert min(moved) > 0.3
    assert style.detach().std() == pytest.approx(0.8, abs=0.3)


def blurred(x):
    """Each pixel from its sixteen neighbours, one tap at a time; beyond an edge the edge goes on."""
    height, width = x.shape[2:]
    out = x.new_zeros(*x.shape[:2], height // 2, width // 2)
    for i, j in product(range(height // 2), range(width // 2)):
        for (a, tap), (b, other) in product(enumerate((1, 3, 3, 1), -1), repeat=2):
            row, column = min(max(2 * i + a, 0), height - 1), min(max(2 * j + b, 0), width - 1)
            out[..., i, j] += tap * other / 64 * x[..., row, column]
    return out


@pytest.mark.parametrize("size", [(8, 8), (2, 4), (16, 16), (32, 8), (32, 32)])
def test_resampling_is_the_filter_one_three_three_one(size):
    torch.manual_seed(0)
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    assert torch.allclose(downsample(x), blurred(x), atol=1e-12)
    assert torch.allclose(upsample(x), F.interpolate(x, scale_factor=2, mode="bilinear"), atol=1e-12)


def test_downsampling_is_the_adjoint_of_upsampling():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    y = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    inner = slice(2, -2)  # the edges repeat, in both
    adjoint = torch.autograd.grad(upsample(x.requires_grad_()), x, y)[0]
    assert torch.allclose(adjoint[..., inner, inner] / 4, downsample(y)[..., inner, inner], atol=1e-12)


def test_downsampling_removes_what_would_alias():
    stripes = (torch.arange(16) % 2).float().expand(1, 1, 16, 16) * 2 - 1
    assert downsample(stripes)[..., 1:-1].abs().max() < 1e-6
    assert stripes[..., ::2].abs().min() == 1


def test_resampling_has_gradients_of_gradients():
    x = torch.randn(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    for function in (upsample, downsample):
        assert torch.autograd.gradcheck(function, (x,))
        assert torch.autograd.gradgradcheck(function, (x,))


def test_parts_import_without_the_command_line_s_libraries():
    code = (
        "import sys\n"
        "for name in ('pluggy', 'typer', 'accelerate', 'diffusers'): sys.modules[name] = None\n"
        "from t2ikit_gigagan import FilterBankConv2d, L2SelfAttention, MappingNetwork, TextCrossAttention\n"
        "from t2ikit_gigagan import GigaGenerator, GigaCritic, DiffAugment, upsample\n"
        "from t2ikit_gigagan import logistic_critic, matching_aware, r1_penalty, clip_contrastive\n"
        "assert 't2ikit.training.trainer' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
