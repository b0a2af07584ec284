"""Muon beside a slow float64 reference, torch's own, and AdamW."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from t2ikit.nn.muon import UPDATE_RMS, MuonAdamW, bank_of_matrices, exclude_from_muon, orthogonalise
from t2ikit.recipes.schema import OptimizerConfig
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


@pytest.mark.parametrize("shape", [(24, 48), (24, 300)])
def test_wide_matrices_go_through_their_gram_matrix_to_the_same_end(shape):
    from t2ikit.nn.muon import _POLAR, _directly, _through_gram

    torch.manual_seed(3)
    matrices = torch.randn(2, *shape) * torch.logspace(0, -3, shape[0])[:, None]
    matrices = matrices / torch.linalg.matrix_norm(matrices, keepdim=True)
    slow = _directly(matrices.double(), list(_POLAR[:3]))
    torch.testing.assert_close(_through_gram(matrices, list(_POLAR[:3])).double(), slow, atol=1e-4, rtol=1e-3)


def reference_step(weight, gradient, buffer, lr, momentum, decay):
    """One parameter at a time, in float64, by singular values passed through the same polynomials."""
    from t2ikit.nn.muon import _POLAR, _SAFETY

    buffer = momentum * buffer + (1 - momentum) * gradient
    ahead = momentum * buffer + (1 - momentum) * gradient
    u, s, v = torch.linalg.svd(ahead.flatten(1), full_matrices=False)
    s = s / (s.square().sum().sqrt() * _SAFETY)
    for a, b, c in _POLAR[:3]:
        r = s / _SAFETY
        s = a * r + b * r**3 + c * r**5
    rows, columns = ahead.flatten(1).shape
    update = (u * s) @ v
    weight = weight * (1 - lr * decay) - lr * UPDATE_RMS * max(rows, columns) ** 0.5 * update.view_as(weight)
    return weight, buffer


def test_steps_match_a_float64_reference():
    torch.manual_seed(2)
    shapes = [(6, 4, 3, 3), (6, 4, 3, 3), (10, 6), (6, 10)]
    parameters = [nn.Parameter(torch.randn(shape)) for shape in shapes]
    weights = [p.detach().double() for p in parameters]
    buffers = [torch.zeros_like(w) for w in weights]
    optimizer = MuonAdamW(parameters, lr=0.02, weight_decay=0.1, momentum=0.9)
    for _ in range(4):
        for i, p in enumerate(parameters):
            p.grad = torch.randn(p.shape)
            weights[i], buffers[i] = reference_step(weights[i], p.grad.double(), buffers[i], 0.02, 0.9, 0.1)
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
