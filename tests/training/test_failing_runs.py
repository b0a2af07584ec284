"""A failure at any step loses nothing that was computed, and says what to do."""

from __future__ import annotations

import shlex
import shutil

import pytest
import torch

import t2ikit
from conftest import TOYS
from t2ikit import UserError, open_run
from t2ikit.cli import main
from t2ikit.errors import notes
from t2ikit.runs import checkpoint as ckpt
from training_support import SMALL, At, no_curves, state_of, train_toy

__all__ = ["no_curves"]
EACH = {"train.log_every": 1, "train.save_every": 100, "train.steps": 6, "train.sample_every": 3}
BROKEN = """
from pathlib import Path

from t2ikit import LossSpec, hookimpl

def broken(step):
    if step.batch.keys[0] == 8 and Path(__file__).with_name("broken").exists():
        raise RuntimeError("a plugin's own mistake")
    return step.fake[-1].square().mean()

@hookimpl
def t2ikit_losses():
    return [LossSpec("broken", lambda config, context: broken)]
"""


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """A plugin file whose loss fails at the third step, as long as the file `broken` is beside it."""
    folder = tmp_path_factory.mktemp("plugin dir")
    (folder / "oops.py").write_text(BROKEN)
    (folder / "broken").touch()
    return folder / "oops.py"


def train_broken(plugin, out, recipe, extra=None):
    settings = {**SMALL, **EACH, "losses.broken.weight": 1.0, **(extra or {})}
    return t2ikit.train([TOYS, plugin], recipe=recipe, set=settings, out=out, device="cpu", progress=False)


def test_a_loss_that_fails_at_step_three_keeps_the_two_before_it(broken, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    sets = {**SMALL, **EACH, "losses.broken.weight": 1.0}
    words = [word for setting in t2ikit.recipes.settings.as_settings(sets) for word in ("--set", setting)]
    words = ["train", "--plugin", TOYS, "--plugin", broken, "--recipe", "toys/denoiser", *words]
    assert main([*map(str, words), "--device", "cpu", "--out", "a run"]) == 1
    err = capsys.readouterr().err
    assert "a plugin's own mistake" in err
    told = err.split("a plugin's own mistake")[-1]
    assert "saved at step 2; to go on: `t2ikit train --resume 'a run' --plugin" in told
    run = open_run("a run")
    assert (run.steps_done, run.finished, len(run.log())) == (2, False, 2)
    whole = shutil.copytree(broken.parent, tmp_path / "mended")
    (whole / "broken").unlink()
    train_broken(whole / "oops.py", tmp_path / "whole", "toys/denoiser")
    (broken.parent / "broken").rename(broken.parent / "mended")
    try:
        assert main(shlex.split(told.split("`")[1])[1:]) == 0
    finally:
        (broken.parent / "mended").rename(broken.parent / "broken")
    assert state_of(run.path) == state_of(tmp_path / "whole")


def test_a_step_that_has_changed_something_is_not_saved(broken, tmp_path):
    """The critic has moved when the generator's loss fails: that is neither step 2 nor step 3."""
    with pytest.raises(RuntimeError, match="own mistake") as caught:
        train_broken(broken, tmp_path / "none", "toys/gan")
    assert "nothing was saved yet" in notes(caught.value)[0]
    assert len(open_run(tmp_path / "none").log()) == 2
    with pytest.raises(RuntimeError, match="own mistake") as caught:
        train_broken(broken, tmp_path / "one", "toys/gan", {"train.save_every": 1})
    assert notes(caught.value)[0].startswith("saved at step 2; to go on: `")
    assert open_run(tmp_path / "one").steps_done == 2


def test_a_failure_beside_the_steps_saves_them(tmp_path, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError("beside")

    for number, where in enumerate(["session._show", "sample_grids.SampleGrids.sample", "callback"]):
        with pytest.MonkeyPatch.context() as patch:
            callbacks = []
            if where == "callback":
                callbacks = [At(3, fail)]
            elif where.startswith("session"):
                patch.setattr("t2ikit.training.session.Session._show", fail)
            else:
                patch.setattr(f"t2ikit.training.{where}", fail)
            with pytest.raises(ZeroDivisionError) as caught:
                train_toy(tmp_path / str(number), EACH, callbacks=callbacks)
        assert notes(caught.value)[0].startswith("saved at step 3; to go on: `"), where
        assert train_toy(resume=tmp_path / str(number)).finished


def test_a_validation_that_fails_keeps_the_line_of_the_log(tmp_path, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError("validation")

    whole = train_toy(tmp_path / "whole", {**EACH, "train.validate_every": 100, "train.log_every": 2})
    with monkeypatch.context() as patch:
        patch.setattr("t2ikit.training.validation.Validation.measure", fail)
        with pytest.raises(ZeroDivisionError):
            train_toy(tmp_path / "run", {**EACH, "train.validate_every": 4, "train.log_every": 2})
    run = open_run(tmp_path / "run")
    assert run.steps_done == 4
    assert [line["step"] for line in run.log()] == [2, 4]
    resumed = train_toy(resume=run.path, set={"train.validate_every": 100})
    key = "loss/contrast"
    assert [line[key] for line in resumed.log()] == [line[key] for line in whole.log()]


def test_a_diverged_step_is_not_saved(tmp_path):
    settings = {
        **EACH,
        "optimizer.generator.lr": 1.0,
        "optimizer.generator.max_grad_norm": 0,
        "train.steps": 400,
    }
    settings |= {"losses.contrast.weight": 1e30, "train.sample_every": 500, "train.validate_every": 500}
    with pytest.raises(UserError, match="training diverged") as caught:
        train_toy(tmp_path / "run", settings)
    assert notes(caught.value) == []
    assert not ckpt.checkpoints(tmp_path / "run")


def test_a_forward_pass_that_moved_a_buffer_is_no_whole_step(tmp_path):
    from conftest import make_toy

    toy = make_toy("denoiser")
    generator = toy.components.model.generator
    generator.register_buffer("seen", torch.zeros(()))
    toy.trainer.ema = None
    player = toy.player("generator")
    term = player.weighted["contrast"]

    def fail(step):
        generator.seen += 1
        raise ZeroDivisionError

    toy.steps(0, 1)
    assert toy.trainer.whole
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(player.weighted, "contrast", type(term)(fail, "generator"))
        with pytest.raises(ZeroDivisionError):
            toy.steps(1, 2)
    assert not toy.trainer.whole
