"""Going on with a run under other settings: they are recorded, and what is printed works as printed."""

from __future__ import annotations

import os
import shlex
import shutil
import signal

import pytest

from conftest import TOYS
from t2ikit import UserError, open_run
from t2ikit.cli import main
from t2ikit.runs import checkpoint as ckpt
from training_support import At, Killed, info_of, kill, no_curves, state_of, train_toy

__all__ = ["no_curves"]
EVERY = {"train.log_every": 2, "train.save_every": 5, "train.sample_every": 10, "train.validate_every": 4}
LONGER = {"train.steps": 20}
SCHEDULE = "the learning rate's schedule is computed anew"


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """A run of twelve steps."""
    folder = tmp_path_factory.mktemp("short") / "a run"
    train_toy(folder, EVERY)
    return folder


@pytest.fixture
def run(short, tmp_path):
    """A copy of it to go on with."""
    return shutil.copytree(short, tmp_path / "a run")


@pytest.fixture(scope="module")
def whole(short, tmp_path_factory):
    """What becomes of it when it goes on to step 20 and is not stopped."""
    folder = shutil.copytree(short, tmp_path_factory.mktemp("whole") / "a run")
    train_toy(resume=folder, set=LONGER)
    return state_of(folder)


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def test_other_settings_are_recorded_in_the_run(run, capsys):
    train_toy(resume=run, set={**LONGER, "train.keep_last": 3}, progress=True)
    found = open_run(run)
    assert (found.table["train"]["steps"], found.table["train"]["keep_last"]) == (20, 3)
    (entry,) = found.info["history"]
    assert entry["step"] == 12
    assert entry["changes"] == {
        "train.steps": {"from": 12, "to": 20},
        "train.keep_last": {"from": 2, "to": 3},
    }
    assert found.log()[-1]["step"] == found.steps_done == 20
    assert found.finished
    said = capsys.readouterr().err
    assert "train.steps is now 20 (it was 12)" in said
    assert said.count(SCHEDULE) == 1


def test_a_finished_run_says_so(run, capsys):
    train_toy(resume=run, progress=True)
    assert "already at step 12 of 12; --set train.steps=24 goes further" in capsys.readouterr().err


def test_the_schedule_is_mentioned_only_where_it_changes(tmp_path, capsys):
    constant = {"optimizer.generator.decay": "none", "train.steps": 2}
    run = train_toy(tmp_path / "constant", constant)
    train_toy(resume=run.path, set={"train.steps": 3}, progress=True)
    said = capsys.readouterr().err
    assert "train.steps is now 3 (it was 2)" in said
    assert SCHEDULE not in said
    decaying = train_toy(tmp_path / "decaying", {"train.steps": 2})
    train_toy(resume=decaying.path, set={"train.keep_last": 1}, progress=True)
    assert SCHEDULE not in capsys.readouterr().err
    train_toy(resume=decaying.path, progress=True)
    assert "is now" not in capsys.readouterr().err
    assert len(info_of(decaying.path)["history"]) == 1


@pytest.mark.parametrize("at", [14, 16, 18])
def test_killed_on_the_way_to_another_step_it_ends_bit_identical(at, run, whole):
    with pytest.raises(Killed):
        train_toy(resume=run, set=LONGER, callbacks=[At(at, kill)])
    assert not open_run(run).finished
    train_toy(resume=run)
    assert state_of(run) == whole


def test_the_command_that_ctrl_c_prints_works_as_printed(run, whole, monkeypatch, capsys):
    monkeypatch.chdir(run.parent)
    (run.parent / "stopping.py").write_text(
        "import os, signal\n"
        "from t2ikit import hookimpl\n"
        "@hookimpl\n"
        "def t2ikit_step_end(run, step, scalars):\n"
        "    if step == 14:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
    )
    words = ["train", "--resume", "a run", "--plugin", str(TOYS), "--plugin", "./stopping.py"]
    assert main([*words, "--set", "train.steps=20"]) == 1
    out, err = capsys.readouterr()
    assert "stopping after this step" in err
    assert ckpt.step_of(ckpt.checkpoints(run)[-1]) == 14
    command = shlex.split(out.split("go on with:")[1])
    assert command[:4] == ["t2ikit", "train", "--resume", "a run"]
    assert "--plugin" in command  # the toys are a file; the other file is no part of the recipe
    assert "stopping.py" not in out
    assert main(command[1:]) == 0
    assert state_of(run) == whole


def test_the_micro_batch_of_a_resume_outlives_a_kill_before_the_next_checkpoint(run, tmp_path):
    other = shutil.copytree(run, tmp_path / "other")
    settings = {**LONGER, "train.micro_batch": 2}
    train_toy(resume=other, set=settings)
    with pytest.raises(Killed):
        train_toy(resume=run, set=settings, callbacks=[At(14, kill)])
    train_toy(resume=run)
    assert '"micro_batch": 2' in state_of(run)["state"]
    assert state_of(run) == state_of(other)


def test_what_cannot_be_begun_is_not_recorded(run):
    before = (run / "recipe.toml").read_bytes(), (run / "run.json").read_bytes()
    for settings in ({"train.steps": 5}, {"train.steps": 20, "train.trackers": ["trackio", "wandb"]}):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("t2ikit.training.trackers.importlib.util.find_spec", lambda name: None)
            with pytest.raises(UserError):
                train_toy(resume=run, set=settings)
        assert ((run / "recipe.toml").read_bytes(), (run / "run.json").read_bytes()) == before


def test_a_stopped_run_can_end_where_it_is(tmp_path):
    run = train_toy(tmp_path / "run", {"train.log_every": 1}, callbacks=[At(4, interrupt)])
    assert not run.finished
    assert run.steps_done == 4
    assert run.grid is None
    ended = train_toy(resume=run.path, set={"train.steps": 4})
    assert ended.finished
    assert ended.grid == run.grid_at(4)
    assert "validation/contrast" in ended.log()[-1]
    before = state_of(run.path)
    assert train_toy(resume=run.path).finished  # there is nothing left to do
    assert state_of(run.path) == before


def test_a_run_of_an_older_version_goes_on(run):
    recipe, info = run / "recipe.toml", run / "run.json"
    recipe.write_text(recipe.read_text().replace("minutes = 0.0\n", ""))
    info.write_text(info.read_text().replace(' "upscales": false,\n', ""))
    assert "minutes" not in open_run(run).table["train"]
    assert "upscales" not in info_of(run)
    went_on = train_toy(resume=run, set=LONGER)
    assert went_on.steps_done == 20
    assert list(info_of(run)["history"][0]["changes"]) == ["train.steps"]
