"""Runs on a GPU: going on, memory, sampling."""

from __future__ import annotations

import pytest
import torch

from conftest import build_toy, make_toy
from t2ikit.memory.forecast import forecast
from t2ikit.registry.registry import Registry
from t2ikit.sampling.images import sample_images
from training_support import RARELY, interrupted, no_curves, state_of, train_toy

__all__ = ["no_curves"]


@pytest.fixture
def deterministic(monkeypatch):
    """Kernels that give the same bits each time, where there are such."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


def test_a_resumed_run_ends_with_the_same_bits(device, tmp_path, deterministic):
    settings = {**RARELY, "train.steps": 4, "train.log_every": 2}
    train_toy(tmp_path / "whole", settings, device=device)
    interrupted(tmp_path / "parts", settings, at=2, device=device)
    train_toy(resume=tmp_path / "parts", device=device)
    whole, parts = (state_of(tmp_path / name)["tensors"] for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert [name for name in whole if whole[name] != parts[name]] == []


@pytest.mark.gpu
@pytest.mark.parametrize("recipe", ["imagen/default", "gigagan/default"])
@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_memory_is_what_was_predicted(recipe, precision, cuda):
    plugin = recipe.partition("/")[0]
    settings = (f"train.precision={precision}", "data.count=64")
    toy = build_toy(recipe, *settings, plugin=plugin, device=cuda)
    batch = toy.batch()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    for _ in range(3):
        toy.trainer.step(batch, 0)  # at which every loss is due
    taken = torch.cuda.max_memory_allocated()
    assert forecast(toy.recipe, Registry.load([plugin])).step == pytest.approx(taken, rel=0.1)


@pytest.mark.parametrize("kind", ["denoiser", "gan"])
def test_images_are_those_of_the_cpu(kind, device):
    here, there = make_toy(kind), make_toy(kind, device=device)
    there.components.model.generator.load_state_dict(here.components.model.generator.state_dict())
    prompts = ("a red square", "a blue square")
    expected, found = (sample_images(toy.components.model, prompts, samples=(0, 1)) for toy in (here, there))
    assert expected.std() > 0.05
    torch.testing.assert_close(found, expected, rtol=0, atol=0.02)
