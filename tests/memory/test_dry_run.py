"""`t2ikit train --dry-run`: everything is checked and forecast, and nothing is written."""

from __future__ import annotations

import os
import shutil

import pytest
import torch
from filelock import FileLock
from PIL import Image

from conftest import TOYS
from t2ikit import UserError
from t2ikit.cli import main
from t2ikit.memory import dry_run
from t2ikit.memory.dry_run import forecast_training
from t2ikit.memory.dry_run_report import duration
from t2ikit.training.trainer import Trainer
from training_support import SMALL, no_curves, train_toy

__all__ = ["no_curves"]


def toy(set=None, recipe="toys/denoiser", **options):
    begin = {} if "resume" in options else {"recipe": recipe}
    settings = set if "resume" in options else {**SMALL, **(set or {})}
    return forecast_training(TOYS, set=settings, device="cpu", progress=False, **begin, **options)


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def other_programs(monkeypatch):
    """How many cores other programs, such as tests beside these, are said to keep busy."""
    cores = [0.0]
    monkeypatch.setattr(dry_run.OtherPrograms, "cores_taken", lambda self: cores[0])
    return cores


def test_time_on_a_busy_machine_is_said_to_be_that(other_programs):
    assert "note" not in dict(toy().rows)
    other_programs[0] = 1.26
    assert "other programs took 1.3 of" in dict(toy().rows)["note"]


def test_it_says_what_a_training_would_take_and_writes_nothing(tmp_path, capsys):
    words = ["train", "--plugin", TOYS, "--recipe", "toys/denoiser", "--device", "cpu", "--dry-run"]
    assert main([*map(str, words), "--set", "train.steps=40", "--set", "train.micro_batch=4"]) == 0
    rows = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert list(rows) == ["recipe", "data", "model", "steps", "memory", "time", "folder", "written"]
    assert rows["recipe"] == "toys/denoiser"
    assert rows["data"] == "squares: 52 training and 8 validation images of 16 x 16 pixels"
    assert "toys/denoiser; losses learned-variance, contrast; " in rows["model"]
    assert rows["steps"] == "40, of 8 images each (4 at once)"
    assert "at the peak of a step on cpu" in rows["memory"]
    assert rows["time"].startswith("about ")
    assert rows["folder"] == f"would be {os.path.join('runs', 'toys-001')}"
    assert rows["written"] == "nothing"
    assert list(tmp_path.iterdir()) == []


def test_the_numbers_are_measured(monkeypatch):
    made, now = [], [0.0]
    step = Trainer.step

    def timed(trainer, batch, number):
        step(trainer, batch, number)
        made.append(number)
        now[0] += 5.0 if len(made) == 1 else 2.0

    monkeypatch.setattr(Trainer, "step", timed)
    monkeypatch.setattr(dry_run.time, "perf_counter", lambda: now[0])
    found = toy({"train.steps": 100})
    assert made[:4] == [0, 1, 2, 3]  # before those of the memory forecast
    assert found.seconds_a_step == pytest.approx(2.0)
    assert (found.steps, found.memory > 10_000) == (100, True)
    assert (
        "about 3 min 20 s for the steps (2 s a step, 2 images/s on cpu in fp32)" in dict(found.rows)["time"]
    )
    assert toy(minutes=1).steps == pytest.approx(60 / toy().seconds_a_step, rel=0.1)


def test_lazy_losses_count_by_how_often_they_are_due(monkeypatch):
    now = [0.0]

    def timed(trainer, batch, number):
        now[0] += 9.0 if number == 0 else 1.0

    monkeypatch.setattr(Trainer, "step", timed)
    monkeypatch.setattr(dry_run.time, "perf_counter", lambda: now[0])
    found = toy({"losses.r1.every": 4}, recipe="toys/gan")
    assert found.seconds_a_step == pytest.approx(1 + 8 / 4)


def test_a_slow_recipe_is_timed_by_one_step(monkeypatch):
    now, made = [0.0], []

    def timed(trainer, batch, number):
        now[0] += 100.0
        made.append(number)

    monkeypatch.setattr(Trainer, "step", timed)
    monkeypatch.setattr(dry_run.time, "perf_counter", lambda: now[0])
    assert toy().seconds_a_step == pytest.approx(100)
    assert made[:2] == [0, 1]
    assert 2 not in made


def test_memory_that_cannot_be_predicted_is_no_reason_to_stop(tmp_path):
    plugin = tmp_path / "peeking.py"
    plugin.write_text(
        "from t2ikit import LossSpec, hookimpl\n"
        "def peek(step):\n"
        "    return step.fake[-1].mean() * (1 if step.fake[-1].max().item() > 0 else 2)\n"
        "@hookimpl\n"
        "def t2ikit_losses():\n"
        "    return [LossSpec('peek', lambda config, context: peek)]\n"
    )
    settings = {**SMALL, "losses.peek.weight": 1.0}
    found = forecast_training(
        [TOYS, plugin], recipe="toys/denoiser", set=settings, device="cpu", progress=False
    )
    assert found.memory is None
    assert "not predicted: losses.peek" in dict(found.rows)["memory"]
    assert found.seconds_a_step > 0


def test_a_run_that_would_go_on_is_left_as_it_is(tmp_path):
    run = train_toy(tmp_path / "run", {"train.steps": 3})
    before = files(tmp_path)
    found = toy({"train.steps": 10}, resume=run.path)
    assert found.steps == 7
    rows = dict(found.rows)
    assert rows["steps"] == "7, from step 3 on, of 4 images each (4 at once)"
    assert rows["folder"] == f"is {run.path}, which would go on"
    assert files(tmp_path) == before
    newest = run.path / "checkpoints" / "step-00000003"
    with FileLock(run.path / ".training.lock"), pytest.raises(UserError, match="another process"):
        toy(resume=run.path)
    with pytest.raises(UserError, match="the run is past"):
        toy({"train.steps": 2}, resume=run.path)
    (newest / "ema.safetensors").write_bytes(b"short")
    before = files(tmp_path)
    with pytest.raises(UserError, match="there is no checkpoint to go on from"):
        toy(resume=run.path)
    assert files(tmp_path) == before


def test_what_training_would_refuse_is_refused(tmp_path, monkeypatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(UserError, match="the folder is not empty"):
        toy(out=tmp_path / "full")
    with pytest.raises(UserError, match="the folder cannot be written"):
        toy(out=tmp_path / "full" / "file" / "run")
    with pytest.raises(UserError, match="cannot be computed here"):
        toy({"losses.r1.use": "toys/r1"})
    with pytest.raises(UserError, match="do not go together"):
        toy({"train.steps": 3}, minutes=3)
    monkeypatch.setattr("t2ikit.training.trackers.importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="the tracker 'trackio' needs the package"):
        toy({"train.trackers": ["trackio"]})
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_what_is_kept_in_the_cache_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("T2IKIT_CACHE", str(tmp_path / "cache"))
    data = tmp_path / "data"
    data.mkdir()
    for number in range(3):
        Image.new("RGB", (20, 20), (9, 9, 80 * number)).save(data / f"b{number}.png")
        (data / f"b{number}.txt").write_text(f"a blue square {number}")
    said = dict(toy({"train.prompts": []}, data=data).rows)["written"]
    assert said.startswith("no run; ")
    assert str(tmp_path / "cache" / "images") in said
    assert dict(toy({"train.prompts": []}, data=data).rows)["written"] == "nothing"
    shutil.rmtree(tmp_path / "cache")


def test_it_leaves_the_process_ready_to_train(tmp_path):
    toy()
    assert torch.is_grad_enabled()
    assert train_toy(tmp_path / "run", {"train.steps": 2}).finished


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.0123, "0.012 s"), (3.21, "3.2 s"), (42, "42 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_lengths_of_time(seconds, words):
    assert duration(seconds) == words
