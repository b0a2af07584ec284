"""Muon beside a slow float64 reference, torch's own, and AdamW."""

from __future__ import annotations

import copy
from contextlib import nullcontext

import pytest
import torch
from torch import nn

from t2ikit.nn.muon import UPDATE_RMS, MuonAdamW, bank_of_matrices, exclude_from_muon
from t2ikit.nn.orthogonalise import _POLAR, _SAFETY, orthogonalise, orthogonalise_all
from t2ikit.recipes.schema import OptimizerConfig
from t2ikit.testing.operations import CountedOperations, NoWaiting
from t2ikit.training.trainer import make_optimizer


@pytest.mark.parametrize("shape", [(48, 48), (16, 144), (144, 16)])
def test_singular_values_come_near_one(shape):
    torch.manual_seed(0)
    matrices = torch.randn(3, *shape)
    values = torch.linalg.svdvals(orthogonalise(matrices))
    assert values.max() < 2
    assert values.quantile(0.1) > 0.2
    exact = torch.linalg.svdvals(orthogonalise(matrices, 5))
    assert exact.max() < 1.2
    assert exact.quantile(0.1) > 0.8


@pytest.mark.parametrize("shape", [(8, 40), (40, 8)])
def test_five_iterations_give_the_polar_factor(shape):
    torch.manual_seed(1)
    matrix = torch.randn(1, *shape, dtype=torch.float64)
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    made = orthogonalise(matrix, 5)
    cosine = (made * (u @ v)).sum() / (made.norm() * (u @ v).norm())
    assert cosine > 0.99


def polar_by_singular_values(matrices):
    """Singular values through the same polynomials, in float64."""
    u, s, v = torch.linalg.svd(matrices.double(), full_matrices=False)
    s = s / (s.square().sum(-1, keepdim=True).sqrt() * _SAFETY)
    for a, b, c in _POLAR[:3]:
        r = s / _SAFETY
        s = a * r + b * r**3 + c * r**5
    return (u * s[..., None, :]) @ v


def many_shapes():
    """Stacks of matrices with singular values over three decades, whose Gram matrices are of five sizes."""
    torch.manual_seed(3)
    shapes = [(2, 24, 48), (3, 24, 24), (1, 48, 24), (2, 100, 64), (1, 5, 300), (1, 130, 140)]
    stacks = [torch.randn(shape) * torch.logspace(0, -3, shape[1])[:, None] for shape in shapes]
    return stacks, [1.0 + place for place in range(len(shapes))]


def error_of(made, stacks, scales, rate=1.0):
    """The largest difference from the reference, in parts of its size."""
    wanted = [polar_by_singular_values(x) * s * rate for x, s in zip(stacks, scales, strict=True)]
    return max(float((a - b).norm() / b.norm()) for a, b in zip(made, wanted, strict=True))


@pytest.mark.parametrize("padded", [False, True])
def test_all_shapes_together_are_each_alone(padded):
    stacks, scales = many_shapes()
    made = orthogonalise_all(stacks, scales, -0.3, padded=padded)
    assert error_of(made, stacks, scales, -0.3) < 1e-4
    tensor = orthogonalise_all(stacks, scales, torch.tensor(-0.3), padded=padded)
    assert all(torch.equal(a, b) for a, b in zip(made, tensor, strict=True))


def test_padding_keeps_matrices_apart():
    stacks, scales = many_shapes()
    doubles = [x.double() for x in stacks]
    plain, padded = (orthogonalise_all(doubles, scales, padded=flag) for flag in (False, True))
    for a, b in zip(plain, padded, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-8)
    scaled = [x * 1e3 for x in doubles[:-1]] + [doubles[-1]]  # the others' numbers do not matter
    torch.testing.assert_close(orthogonalise_all(scaled, scales, padded=True)[-1], padded[-1])


def test_the_iteration_in_half_precision_is_near_and_bf16_less_so():
    stacks, scales = many_shapes()
    made = {
        dtype: orthogonalise_all(stacks, scales, padded=True, dtype=dtype)
        for dtype in (torch.float16, torch.bfloat16)
    }
    errors = {dtype: error_of(results, stacks, scales) for dtype, results in made.items()}
    assert made[torch.float16][0].dtype == torch.float32
    assert 1e-4 < errors[torch.float16] < 0.02
    assert 4 * errors[torch.float16] < errors[torch.bfloat16] < 0.15
    largest = [torch.linalg.matrix_norm(x, 2).max() / s for x, s in zip(made[torch.float16], scales)]
    assert max(largest) < 2


def reference_step(weight, gradient, buffer, lr, momentum, decay):
    """One parameter at a time, in float64."""
    buffer = momentum * buffer + (1 - momentum) * gradient
    ahead = momentum * buffer + (1 - momentum) * gradient
    update = polar_by_singular_values(ahead.flatten(1)) * max(ahead.flatten(1).shape) ** 0.5
    weight = weight * (1 - lr * decay) - lr * UPDATE_RMS * update.view_as(weight)
    return weight, buffer


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("on_device", [False, True])
def test_steps_match_a_float64_reference(layout, on_device):
    torch.manual_seed(2)
    shapes = [(6, 4, 3, 3), (6, 4, 3, 3), (10, 6, 1, 1), (6, 10), (7,)]
    parameters = [nn.Parameter(torch.randn(shape)) for shape in shapes]
    for p in parameters:
        p.data = p.data.contiguous(memory_format=layout) if p.ndim == 4 else p.data
    weights = [p.detach().double() for p in parameters[:-1]]
    buffers = [torch.zeros_like(w) for w in weights]
    lr = torch.tensor(0.5) if on_device else 0.5
    optimizer = MuonAdamW(parameters, lr=lr, weight_decay=0.1, momentum=0.9)
    for step in range(4):
        rate = 0.02 / (1 + step)
        for p in parameters:
            p.grad = torch.randn_like(p)
        for i, p in enumerate(parameters[:-1]):
            weights[i], buffers[i] = reference_step(weights[i], p.grad.double(), buffers[i], rate, 0.9, 0.1)
        for group in optimizer.param_groups:
            group["lr"] = group["lr"].fill_(rate) if on_device else rate
        with NoWaiting() if on_device else nullcontext():
            optimizer.step()
    for p, w in zip(parameters, weights):
        assert torch.allclose(p.double(), w, atol=2e-5)


def test_vectors_are_adamw_s():
    torch.manual_seed(3)
    model = nn.Linear(5, 5)
    twin = copy.deepcopy(model)
    ours = MuonAdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    theirs = torch.optim.AdamW(twin.parameters(), lr=0.01, betas=(0.9, 0.95), weight_decay=0.1)
    for _ in range(3):
        x = torch.randn(4, 5)
        for net, optimizer in ((model, ours), (twin, theirs)):
            net.zero_grad()
            net(x).sum().backward()
            optimizer.step()
    assert torch.allclose(model.bias, twin.bias, atol=1e-7)
    assert not torch.allclose(model.weight, twin.weight, atol=1e-3)


def test_a_reloaded_state_goes_on_bit_identically():
    torch.manual_seed(4)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3))
    twin = copy.deepcopy(model)
    config = OptimizerConfig(kind="muon", lr=0.01)
    first = make_optimizer(list(model.parameters()), config)
    x = torch.randn(2, 3, 8, 8)

    def step(net, optimizer):
        optimizer.zero_grad()
        net(x).square().mean().backward()
        optimizer.step()

    step(model, first)
    twin.load_state_dict(model.state_dict())
    second = make_optimizer(list(twin.parameters()), config)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for net, optimizer in ((model, first), (twin, second)):
        step(net, optimizer)
    for a, b in zip(model.parameters(), twin.parameters()):
        assert torch.equal(a, b)


def test_a_parameter_without_gradient_stays():
    frozen, moved = nn.Parameter(torch.ones(3, 3)), nn.Parameter(torch.ones(3, 3))
    optimizer = MuonAdamW([frozen, moved], lr=0.1)
    moved.grad = torch.randn(3, 3)
    optimizer.step()
    assert torch.equal(frozen, torch.ones(3, 3))
    assert not torch.equal(moved, torch.ones(3, 3))


def test_a_bank_is_stepped_as_its_matrices_one_by_one():
    torch.manual_seed(4)
    bank = nn.Parameter(torch.randn(3, 8, 4, 3, 3))
    apart = [nn.Parameter(part.clone()) for part in bank.detach()]
    bank_of_matrices(bank)
    together, alone = MuonAdamW([bank], lr=0.1), MuonAdamW(apart, lr=0.1)
    for _ in range(2):
        bank.grad = torch.randn_like(bank)
        for part, gradient in zip(apart, bank.grad):
            part.grad = gradient.clone()
        together.step()
        alone.step()
    torch.testing.assert_close(bank.detach(), torch.stack([p.detach() for p in apart]))


def test_embeddings_and_ends_of_networks_are_adamws():
    matrix, embedding = (nn.Parameter(torch.randn(8, 8)) for _ in range(2))
    exclude_from_muon(embedding, None)
    optimizer = MuonAdamW([matrix, embedding], lr=0.1)
    groups = {group["muon"]: group["params"] for group in optimizer.param_groups}
    assert groups[True][0] is matrix
    assert groups[False][0] is embedding


def test_what_is_adamws_in_the_models_here():
    from t2ikit_gigagan import GigaCritic, GigaGenerator
    from t2ikit_gigagan.configs import CriticConfig, GeneratorConfig
    from t2ikit_imagen import ImagenDenoiser, UNetConfig

    left = {
        ImagenDenoiser(UNetConfig(), 32, 64, 24): {
            "tower.positions",
            "unet.conv_in.weight",
            "unet.conv_out.weight",
        },
        GigaGenerator(GeneratorConfig(), 32, 64, 24): {
            "start",
            "tower.positions",
            *(f"blocks.{level}.to_rgb.bank" for level in range(4)),
        },
        GigaCritic(CriticConfig(), 32, 64, 24): {
            "tower.positions",
            *(f"from_rgb.{level}.weight" for level in range(4)),
            *(f"predictors.{level}.plain.weight" for level in range(4)),
            *(f"predictors.{level}.modulated.3.bank" for level in range(4)),
        },
    }
    for model, expected in left.items():
        optimizer = MuonAdamW(model.parameters(), lr=0.1)
        vectors = {id(p) for group in optimizer.param_groups if not group["muon"] for p in group["params"]}
        assert {name for name, p in model.named_parameters() if id(p) in vectors and p.ndim > 1} == expected


@pytest.mark.parametrize("padded", [False, True])
def test_the_default_model_takes_few_operations_a_step(padded, monkeypatch):
    from t2ikit_imagen import ImagenDenoiser, UNetConfig

    monkeypatch.setattr(
        "t2ikit.nn.muon.orthogonalise_all", lambda *a, **k: orthogonalise_all(*a, **{**k, "padded": padded})
    )
    model = ImagenDenoiser(UNetConfig(), 32, 64, 24)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer = MuonAdamW(model.parameters(), lr=torch.tensor(1e-3), weight_decay=0.01)
    optimizer.step()
    with CountedOperations() as counted:
        optimizer.step()
    assert 50 < counted.total <= (150 if padded else 200)
