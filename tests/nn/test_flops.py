"""Model FLOPs beside the arithmetic by hand and beside PyTorch's own counter."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from conftest import make_toy
from t2ikit.core.peaks import PEAKS, peak_flops
from t2ikit.nn.flops import FlopCounter, ModelFlops, device_peak


def counted(forward, backward=lambda loss: loss.backward()) -> int:
    flops = ModelFlops(1.0)
    flops.begin("one", [])
    flops.backward(backward, flops.forward(forward))
    flops.end()
    flops.add("one", [])
    return flops.whole


def test_a_grouped_convolution_by_hand():
    x = torch.randn(2, 6, 8, 8, requires_grad=True)
    conv = nn.Conv2d(6, 9, 3, padding=1, groups=3)
    forward = 2 * (2 * 8 * 8) * 9 * (6 // 3) * 3 * 3  # each output sums over the channels of its group
    assert counted(lambda: conv(x).sum()) == 3 * forward
    assert counted(lambda: conv(x.detach()).sum()) == 2 * forward  # no gradient of the images


def test_plain_layers_as_pytorch_counts_them():
    net = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.SiLU(), nn.ConvTranspose2d(8, 4, 4, 2), nn.Flatten(1, 2))
    net.append(nn.Linear(18, 5))
    x = torch.randn(2, 3, 15, 17)
    with FlopCounterMode(display=False) as pytorch:
        net(x).square().sum().backward()
    assert counted(lambda: net(x).square().sum()) == pytorch.get_total_flops() > 0


def test_attention_by_hand():
    q, k, v = (torch.randn(2, 3, length, 4, requires_grad=True) for length in (5, 7, 7))
    product = 2 * 2 * 3 * 5 * 7 * 4
    with FlopCounter() as counter:
        out = F.scaled_dot_product_attention(q, k, v)
    assert counter.flops == 2 * product
    assert out.shape == (2, 3, 5, 4)


def test_what_checkpointing_computes_anew_is_not_counted():
    layer, x = nn.Linear(8, 8), torch.randn(4, 8, requires_grad=True)
    plain = counted(lambda: layer(layer(x).relu()).sum())
    anew = counted(lambda: checkpoint(lambda x: layer(layer(x).relu()), x, use_reentrant=False).sum())
    assert plain == anew == 6 * 2 * 4 * 8 * 8


def test_differentiating_twice_counts():
    weight, x = torch.randn(8, 8, requires_grad=True), torch.randn(4, 8, requires_grad=True)

    def penalty():
        (slope,) = torch.autograd.grad((x @ weight).square().sum(), x, create_graph=True)
        return slope.square().sum()

    # x W, its gradient to x; then of slope = 2 (x W) W^T: two for each product, x needs one too
    assert counted(penalty, lambda loss: loss.backward(inputs=[weight])) == 5 * 2 * 4 * 8 * 8


@pytest.mark.parametrize("kind", ["gan", "denoiser"])
def test_counting_changes_no_step(kind):
    plain, seen = make_toy(kind, "train.micro_batch=3"), make_toy(kind, "train.micro_batch=3")
    seen.trainer.flops = ModelFlops(1e12)
    for toy in (plain, seen):
        toy.steps(0, 3)
    assert seen.trainer.flops.whole > 0
    assert plain.trainer.flops.whole == 0  # a CPU's peak is not known
    for a, b in zip(plain.trainer.players, seen.trainer.players):
        assert all(torch.equal(p, q) for p, q in zip(a.trainable, b.trainable))


def test_losses_count_as_often_as_they_are_due():
    toy = make_toy("gan")
    toy.trainer.flops = flops = ModelFlops(1e12)
    steps = []
    for step in range(9):
        toy.steps(step, step + 1)
        steps.append(flops.read()[0])
    lazy = max(loss.every for player in toy.trainer.players for loss in player.weighted.values())
    assert 1 < lazy <= 8
    assert steps[0] == steps[lazy] > steps[1] == steps[lazy - 1] > 0
    assert flops.whole == sum(steps)


def test_micro_batches_count_as_one_batch():
    found = []
    for settings in ([], ["train.micro_batch=3"]):
        toy = make_toy("denoiser", *settings)
        toy.trainer.flops = ModelFlops(1e12)
        toy.steps(0, 1)
        found.append(toy.trainer.flops.whole)
    assert found[0] == found[1] > 0


# ---------------------------------------------------------------- peaks

CORES = {
    "rtx 3060": (3584, 1.777),
    "rtx 3090": (10496, 1.695),
    "rtx 4070": (5888, 2.475),
    "rtx 4090": (16384, 2.52),
    "rtx 5090": (21760, 2.407),
    "rtx a6000": (10752, 1.80),
    "rtx 6000 ada": (18176, 2.505),
    "a100 sxm4": (6912, 1.41),
    "h100": (16896, 1.98),
    "l4": (7424, 2.04),
    "t4": (2560, 1.59),
    "v100 sxm2": (5120, 1.53),
}
"""CUDA cores and boost clock in GHz."""


@pytest.mark.parametrize("name", CORES)
def test_fp32_is_two_operations_a_core_and_cycle(name):
    cores, clock = CORES[name]
    assert PEAKS[name].fp32 == pytest.approx(2 * cores * clock / 1000, rel=0.01)


@pytest.mark.parametrize("name", PEAKS)
def test_tensor_cores_halve_from_fp16_to_tf32_and_are_never_slower_than_fp32(name):
    peak = PEAKS[name]
    assert peak.tf32 is None or peak.fp16 == pytest.approx(2 * peak.tf32, rel=0.02)
    assert peak.fp32 <= (peak.tf32 or peak.fp16)


@pytest.mark.parametrize(
    ("name", "precision", "tf32", "expected"),
    [
        ("NVIDIA H100 80GB HBM3", "bf16", True, 989.4),
        ("NVIDIA H100 PCIe", "no", True, 378),
        ("NVIDIA H100 PCIe", "no", False, 51),
        ("NVIDIA H200", "bf16", True, 989.4),
        ("NVIDIA A100-SXM4-80GB", "no", True, 156),
        ("NVIDIA A100 80GB PCIe", "fp16", True, 312),
        ("NVIDIA GeForce RTX 3080 Ti", "bf16", True, 68.2),
        ("NVIDIA RTX 6000 Ada Generation", "bf16", True, 364.2),
        ("Tesla T4", "fp16", True, 65),
        ("Tesla T4", "no", True, 8.1),
        ("Tesla T4", "bf16", True, None),
        ("Tesla V100-SXM2-16GB", "fp16", True, 125),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "bf16", True, None),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "bf16", True, None),
        ("AMD Instinct MI300X", "bf16", True, None),
    ],
)
def test_peaks_are_found_by_the_names_that_torch_gives(name, precision, tf32, expected):
    found = peak_flops(name, precision, tf32=tf32)
    assert found == (None if expected is None else pytest.approx(expected * 1e12))


def test_the_peak_of_a_device_is_that_of_its_precision(monkeypatch):
    assert device_peak(torch.device("cpu"), "no") is None
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA L4")
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "highest")
    for allowed, expected in ((True, 60e12), (False, 30.3e12)):
        monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", allowed)
        assert device_peak(torch.device("cuda"), "no") == expected
    assert device_peak(torch.device("cuda"), "bf16") == 121e12
