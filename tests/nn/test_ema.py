"""The averaged weights beside diffusers' EMAModel."""

from __future__ import annotations

import copy

import pytest
import torch
from diffusers.training_utils import EMAModel
from torch import nn

from t2ikit.nn.ema import EMA
from t2ikit.testing.operations import CountedOperations, NoWaiting


class Mixed(nn.Module):
    """Parameters of two dtypes, one of them frozen, and buffers of two."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(*(nn.Linear(4, 4) for _ in range(5)))
        self.short = nn.Parameter(torch.randn(6, dtype=torch.bfloat16))
        self.frozen = nn.Parameter(torch.randn(3), requires_grad=False)
        self.norm = nn.BatchNorm1d(4)
        self.register_buffer("passing", torch.zeros(2), persistent=False)

    def move(self) -> None:
        """Change everything, buffers by another tensor."""
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.add_(torch.randn_like(parameter))
        self.norm.running_mean = torch.randn(4)
        self.norm.num_batches_tracked += 1


@pytest.mark.parametrize("on_device", [False, True])
def test_it_is_diffusers_average(on_device):
    torch.manual_seed(0)
    module = Mixed()
    witness = EMAModel(list(module.state_dict(keep_vars=True).values()), decay=0.6)
    ema = EMA(module, 0.6)
    if on_device:  # as on a GPU: the rate is a tensor that is filled
        ema._rates = {torch.device("cpu"): torch.zeros(())}
    for _ in range(8):
        module.move()
        witness.step(module.state_dict(keep_vars=True).values())
        ema.begin_step()
        with NoWaiting():
            ema.follow()
        ema.steps += 1
    assert list(ema.tensors()) == list(module.state_dict())
    for name, expected in zip(ema.tensors(), witness.shadow_params, strict=True):
        found = ema.tensors()[name]
        assert found.dtype == expected.dtype
        torch.testing.assert_close(found, expected, msg=name)
    assert not torch.equal(ema.tensors()["body.0.weight"], module.body[0].weight)
    assert torch.equal(ema.tensors()["norm.running_mean"], module.norm.running_mean)
    assert ema.steps == witness.optimization_step == 8


def test_a_step_is_a_few_operations_for_each_dtype():
    module = Mixed()
    ema = EMA(module, 0.9)
    with CountedOperations() as counted:
        ema.step()
    assert counted.counts == {"_foreach_sub": 2, "_foreach_sub_": 2, "_foreach_copy_": 2}


def test_a_loaded_average_goes_on():
    module = Mixed()
    first, second = EMA(module, 0.9), EMA(copy.deepcopy(module), 0.9)
    module.move()
    first.step()
    second.load(first.tensors(), first.steps)
    second.module.load_state_dict(module.state_dict())
    for ema in (first, second):
        ema.module.norm.num_batches_tracked += 1
        ema.step()
    assert all(torch.equal(a, b) for a, b in zip(first.tensors().values(), second.tensors().values()))
