"""Training steps on a GPU; what a CPU can do as well is tried there, too."""

from __future__ import annotations

import pytest
import torch

from conftest import Toy, build_toy, make_toy

KINDS = ["denoiser", "gan"]
CUDA = [pytest.param(kind, "cuda", marks=pytest.mark.gpu) for kind in KINDS]
everywhere = pytest.mark.parametrize(("kind", "device"), [("denoiser", "cpu"), *CUDA], indirect=["device"])


@pytest.fixture(autouse=True)
def full_fp32():
    """No TF32, so that the devices differ by rounding alone."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        yield
        torch.set_float32_matmul_precision(before)


def weights(toy: Toy) -> list[torch.Tensor]:
    return [one.detach().float().cpu() for player in toy.trainer.players for one in player.trainable]


def like(toy: Toy, other: Toy) -> Toy:
    """The toy with the weights of another."""
    for mine, theirs in zip(toy.trainer.players, other.trainer.players, strict=True):
        mine.load_state_dict(theirs.state_dict())
    return toy


def losses(toy: Toy, steps: int) -> dict[str, float]:
    """The losses' means over the first steps."""
    toy.steps(0, steps)
    return toy.trainer.running_means.read()


@everywhere
def test_a_step_is_that_of_the_cpu(kind, device):
    """The critic's R1, due at steps 0 and 2, is differentiated twice."""
    here = make_toy(kind)
    there = like(make_toy(kind, device=device), here)
    expected, found = losses(here, 3), losses(there, 3)
    assert found == pytest.approx(expected, rel=2e-3, abs=1e-4)
    for a, b in zip(weights(here), weights(there), strict=True):
        torch.testing.assert_close(b, a, rtol=1e-3, atol=3e-3)  # a tenth of what three steps of Adam can move


@everywhere
def test_bf16_trains_as_fp32_does(kind, device):
    full = make_toy(kind, device=device)
    expected = losses(full, 3)
    found = losses(make_toy(kind, "train.precision=bf16", device=device), 3)
    for name, value in expected.items():
        if name.startswith("loss/"):
            assert found[name] == pytest.approx(value, rel=0.1, abs=0.05), name


@pytest.mark.gpu
def test_fp16_trains_as_fp32_does(cuda):
    expected = losses(make_toy("denoiser", device=cuda), 3)
    found = losses(make_toy("denoiser", "train.precision=fp16", device=cuda), 3)
    assert all(
        found[name] == pytest.approx(value, rel=0.1, abs=0.05)
        for name, value in expected.items()
        if name.startswith("loss/")
    )


@pytest.mark.gpu
@pytest.mark.parametrize("kind", KINDS)
def test_a_warm_step_never_waits_for_the_device(kind, cuda):
    toy = make_toy(kind, device=cuda)
    toy.steps(0, 6)
    batch = toy.batch(6)
    torch.cuda.set_sync_debug_mode("error")
    try:
        toy.trainer.step(batch, 6)
    finally:
        torch.cuda.set_sync_debug_mode("default")


BIG = ("train.batch=128", "data.count=256")
"""A batch whose activations are most of what is taken."""


def reserved(toy: Toy) -> int:
    """Bytes that a step of a toy makes PyTorch reserve."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    toy.steps(0, 2)
    return torch.cuda.max_memory_reserved()


@pytest.mark.gpu
def test_out_of_memory_halves_the_micro_batch(cuda):
    """Under a cap that lies between what a whole batch takes and what half of it takes."""
    said = []
    whole = build_toy("imagen/default", *BIG, plugin="imagen", device=cuda)
    most = reserved(whole)
    del whole
    half = build_toy("imagen/default", *BIG, "train.micro_batch=64", plugin="imagen", device=cuda)
    least = reserved(half)
    del half
    torch.cuda.empty_cache()
    cap = (most + least) / 2 / torch.cuda.get_device_properties(0).total_memory
    toy = build_toy("imagen/default", *BIG, plugin="imagen", log=said.append, device=cuda)
    torch.cuda.set_per_process_memory_fraction(cap)
    try:
        toy.steps(0, 6)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert toy.trainer.micro_batch in (32, 64)
    assert any("out of memory at micro-batch 128" in line for line in said)
