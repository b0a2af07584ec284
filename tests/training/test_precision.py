"""What train.precision = "auto" comes to, and where it is recorded."""

from __future__ import annotations

import json
from itertools import count

import pytest
import torch

from conftest import make_toy
from t2ikit.core import precision as module
from t2ikit.core.precision import choose_precision, measure_gain
from t2ikit.runs.open import open_run
from t2ikit.sampling.images import autocast
from training_support import info_of, interrupted, train_toy

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture
def fast_cpu(monkeypatch):
    """A CPU that has bf16, and is twice as fast at it."""
    monkeypatch.setattr(module, "cpu_has_bf16", lambda: True)
    monkeypatch.setattr(module, "measure_gain", lambda: 2.0)


def no_measure():
    raise AssertionError("measured")


@pytest.mark.parametrize(("capability", "wanted"), [((7, 5), "no"), ((8, 0), "bf16"), ((9, 0), "bf16")])
def test_a_gpu_has_bf16_from_capability_8_on(monkeypatch, capability, wanted):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert choose_precision("auto", GPU, no_measure) == wanted
    assert [choose_precision(asked, GPU) for asked in ("no", "bf16", "fp16")] == ["no", "bf16", "fp16"]


@pytest.mark.parametrize(("gain", "wanted"), [(1.29, "no"), (1.3, "bf16")])
def test_a_cpu_has_bf16_where_a_measurement_shows_a_gain(monkeypatch, gain, wanted):
    monkeypatch.setattr(module, "cpu_has_bf16", lambda: True)
    assert choose_precision("auto", CPU, lambda: gain) == wanted
    assert choose_precision("auto", CPU, no_measure, alone=False) == "no"
    monkeypatch.setattr(module, "cpu_has_bf16", lambda: False)
    assert choose_precision("auto", CPU, no_measure) == "no"


def test_others_are_fp32():
    assert choose_precision("auto", torch.device("mps"), no_measure) == "no"


def test_the_measurement_divides_the_fastest_turns(monkeypatch):
    monkeypatch.setattr(module, "_SIDE", 4)
    began = count()  # of each pair of readings
    lasts = [9, 9, 4, 3, 6, 2, 5, 2, 4, 4, 4, 2]  # two turns that warm up, then fp32 and bf16 by turns

    def clock():
        number = next(began)
        return 100.0 * (number // 2) + (lasts[number // 2] if number % 2 else 0)

    assert measure_gain(clock) == 4 / 2


def test_what_was_chosen_is_recorded_and_kept(tmp_path, fast_cpu):
    run = interrupted(tmp_path / "run", {"train.steps": 4, "train.precision": "auto"}, at=2)
    assert info_of(run.path)["chosen"] == {"precision": "bf16"}
    assert 'precision = "auto"' in (run.path / "recipe.toml").read_text()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "measure_gain", lambda: 0.5)  # it would choose otherwise now
        seen = []
        patch.setattr("t2ikit.training.session.Session.train", lambda self, start: seen.append(self))
        train_toy(resume=run.path)
    assert seen[0].accelerator.mixed_precision == "bf16"
    assert seen[0].trainer.config.precision == "bf16"
    assert "history" not in info_of(run.path)


def test_a_run_that_does_not_say_was_trained_in_fp32(tmp_path):
    run = train_toy(tmp_path / "run", {"train.steps": 1, "train.batch": 2})
    assert info_of(run.path)["chosen"] == {"precision": "no"}
    info = info_of(run.path)
    del info["chosen"]
    (run.path / "run.json").write_text(json.dumps(info))
    assert open_run(run.path).table["train"]["precision"] == "no"


def test_a_cpu_samples_in_bf16_where_it_is_fast_at_it_or_the_weights_are(monkeypatch):
    model = make_toy("denoiser", "train.precision=bf16").components.model
    for fast in (False, True):
        monkeypatch.setattr("t2ikit.sampling.images.cpu_has_bf16", lambda fast=fast: fast)
        with autocast(model):
            assert torch.is_autocast_enabled("cpu") == fast
    monkeypatch.setattr("t2ikit.sampling.images.cpu_has_bf16", lambda: False)
    model.generator.to(torch.bfloat16)
    with autocast(model):
        assert torch.is_autocast_enabled("cpu")
    with autocast(make_toy("denoiser").components.model):
        assert not torch.is_autocast_enabled("cpu")
