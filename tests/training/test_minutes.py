"""A run of so many minutes: the learning rate falls with the time, whatever else takes time, and resumes."""

from __future__ import annotations

import math

import pytest

from conftest import TOYS
from t2ikit import UserError, open_run, read_recipe
from t2ikit.cli import main
from t2ikit.recipes.schema import OptimizerConfig
from t2ikit.runs.files import read_state
from t2ikit.training import schedule
from t2ikit.training.schedule import TimeBudget, scheduled_rate
from t2ikit.training.session import Session
from t2ikit.training.trainer import Trainer
from training_support import RARELY, At, Killed, interrupted, kill, no_curves, train_toy

__all__ = ["no_curves"]
EACH = {"train.log_every": 1, **RARELY}


class Time:
    """A clock that moves only when something is done."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch):
    """Time in which a step takes a second, and validating what a test says; neither computes anything."""
    time = Time()
    time.aside = 0.0

    def step(trainer, batch, number):
        time.now += 1

    def validate(session, done):
        time.now += time.aside
        return {"validation/contrast": 1.0}

    monkeypatch.setattr(schedule, "clock", time)
    monkeypatch.setattr(Trainer, "step", step)
    monkeypatch.setattr(Session, "_validate", validate)
    return time


def rates(run):
    return [line["lr/generator"] for line in run.log() if "lr/generator" in line]


def test_the_rate_falls_to_nothing_on_time(time, tmp_path):
    run = train_toy(tmp_path / "run", {**EACH, "optimizer.generator.decay": "linear"}, minutes=0.5)
    assert run.finished
    assert run.steps_done == 30  # a second each
    assert time.now == 1030
    warm = [1e-3 / 3, 2e-3 / 3]
    expected = [(warm[i] if i < 2 else 1e-3) * (1 - i / 30) for i in range(30)]
    assert rates(run) == pytest.approx(expected)
    assert (run.table["train"]["minutes"], run.table["train"]["steps"]) == (0.5, 30)
    assert open_run(run.path).table == run.table
    assert run.grid == run.grid_at(30)
    assert run.log()[-1]["minutes"] == pytest.approx(0.5)
    assert "validation/contrast" in run.log()[-1]


def test_what_takes_time_on_the_way_counts_and_the_rate_never_leaps(time, tmp_path):
    time.aside = 40.0
    settings = {**EACH, "train.validate_every": 29, "optimizer.generator.decay": "linear"}
    run = train_toy(tmp_path / "run", settings, minutes=1.5)
    # Of 90 seconds, the first validation takes 40; the second would be at step 58, when the time is up.
    assert [line["step"] for line in run.log() if "validation/contrast" in line] == [29, run.steps_done]
    assert 50 <= run.steps_done <= 60
    falls = [before - after for before, after in zip(rates(run)[2:], rates(run)[3:])]
    assert min(falls) > 0
    assert max(falls) <= 1e-3 * (2 / 90 + 1e-9)
    assert rates(run)[-1] < 0.05e-3


def test_a_validation_that_takes_all_the_time_does_not_cut_the_decay_short(time, tmp_path):
    time.aside = 1000.0
    settings = {**EACH, "train.validate_every": 6, "train.save_every": 7, "train.sample_every": 8}
    run = train_toy(tmp_path / "run", settings, minutes=1)
    # Six steps, the validation, and the steps in which the schedule comes to its end, with nothing between.
    assert run.steps_done == pytest.approx(6 + 0.9 / (2 / 60), abs=2)
    assert rates(run)[-1] < 4e-6
    assert [line["step"] for line in run.log() if "validation/contrast" in line] == [6, run.steps_done]
    assert [path.name for path in (run.path / "samples").iterdir()] == [run.grid.name]


def test_a_stopped_run_goes_on_with_the_minutes_that_are_left(time, tmp_path):
    whole = train_toy(tmp_path / "whole", EACH, minutes=0.5)
    run = interrupted(tmp_path / "run", EACH, at=10, minutes=0.5)
    assert not run.finished
    assert run.steps_done == 10
    time.now += 5000  # nobody trains meanwhile
    run = train_toy(resume=run.path)
    assert run.finished
    assert rates(run) == pytest.approx(rates(whole))
    assert run.steps_done == 30


def test_a_killed_run_goes_on_from_its_last_checkpoint(time, tmp_path):
    settings = {**EACH, "train.save_every": 8}
    with pytest.raises(Killed):
        train_toy(tmp_path / "run", settings, minutes=0.5, callbacks=[At(21, kill)])
    assert not open_run(tmp_path / "run").finished
    run = train_toy(resume=tmp_path / "run")
    assert run.steps_done == 30
    assert rates(run) == sorted(rates(run)[:2]) + sorted(rates(run)[2:], reverse=True)
    assert train_toy(resume=run.path).steps_done == 30  # there is nothing left to do


def test_more_minutes_are_in_all_and_recorded(time, tmp_path, capsys):
    run = train_toy(tmp_path / "run", EACH, minutes=0.25)
    assert run.steps_done == 15
    run = train_toy(resume=run.path, minutes=0.5, progress=True)
    assert run.steps_done == 30
    said = capsys.readouterr().err
    assert "train.minutes is now 0.5 (it was 0.25)" in said
    assert "the learning rate's schedule is computed anew" in said
    assert rates(run)[15] == pytest.approx(0.5e-3, rel=0.1)  # half of the cosine again
    assert (run.table["train"]["minutes"], run.table["train"]["steps"]) == (0.5, 30)
    with pytest.raises(UserError, match=r"has trained for longer.*\n.*more than 0\.50"):
        train_toy(resume=run.path, minutes=0.1)


def test_from_minutes_to_steps_and_back(time, tmp_path):
    run = train_toy(tmp_path / "run", EACH, minutes=0.1)
    assert run.steps_done == 6
    run = train_toy(resume=run.path, set={"train.steps": 9})
    assert run.steps_done == 9
    assert run.table["train"]["minutes"] == 0
    assert "time" not in read_state(run.path / "checkpoints" / "step-00000009")
    run = train_toy(resume=run.path, minutes=0.1)
    assert run.steps_done == 15  # of which none has been timed before
    again = read_recipe(run.path / "recipe.toml", plugin=TOYS, set={"train.steps": 15})
    assert (again.train.steps, again.train.minutes) == (15, 0)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--minutes", "3", "--set", "train.steps=9"], "train.minutes and train.steps do not go together"),
        (["--minutes", "0"], "--minutes: this is no time to train for"),
        (["--minutes", "-1"], "--minutes: this is no time to train for"),
        (["--minutes", "nan"], "--minutes: this is no time to train for"),
        (["--set", "train.minutes=inf"], "train.minutes"),
    ],
)
def test_minutes_that_are_none(words, expected, tmp_path, capsys):
    words = ["train", "--plugin", TOYS, "--recipe", "toys/denoiser", *words, "--out", tmp_path / "run"]
    assert main(list(map(str, words))) == 2
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_optimiser_is_given_the_rate_of_the_time(monkeypatch, tmp_path):
    now = Time()
    monkeypatch.setattr(schedule, "clock", now)
    update, used = Trainer._update, []

    def timed_update(trainer, player_state):
        norm = update(trainer, player_state)
        used.append(player_state.optimizer.param_groups[0]["lr"])
        now.now += 10
        return norm

    monkeypatch.setattr(Trainer, "_update", timed_update)
    run = train_toy(tmp_path / "run", EACH, minutes=1)
    assert used == rates(run)
    assert used[2:] == pytest.approx([1e-3 * (1 + math.cos(math.pi * i / 6)) / 2 for i in range(2, 6)])


def test_several_processes_follow_the_first_one(monkeypatch):
    """Clocks differ; what the main process reads is what every process uses."""
    said: list[float] = []
    slow, fast = Time(), Time()

    def follow(_):
        return said.pop(0)

    def tell(value):
        said.append(value)
        return value

    main_process, other = TimeBudget(1, tell), TimeBudget(1, follow)
    done = 0
    while not main_process.over:
        for budget, time in ((main_process, slow), (other, fast)):
            monkeypatch.setattr(schedule, "clock", time)
            budget.begin(done)
            time.now += 1 if budget is main_process else 3
            budget.end(done + 1)
        done += 1
        assert other.over == main_process.over
        assert other.late == main_process.late
        config = OptimizerConfig(decay="cosine")
        assert scheduled_rate(config, done, other) == scheduled_rate(config, done, main_process)
    assert done == 60
