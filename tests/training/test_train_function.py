"""`t2ikit.train` and `t2ikit.read_recipe`: the command line's training, in Python."""

from __future__ import annotations

import inspect
import os
import signal
import threading
from pathlib import Path

import pytest
from PIL import Image

import t2ikit
from conftest import TOYS
from t2ikit import Registry, UserError, open_run, read_recipe
from t2ikit.cli import main
from t2ikit.registry.callbacks import observing
from t2ikit.training import train as train_function
from training_support import SMALL, At, no_curves, state_of, train_toy

__all__ = ["no_curves"]


class Witness:
    """A callback that keeps what it is told."""

    def __init__(self) -> None:
        self.scalars: dict[int, dict[str, float]] = {}
        self.shown: dict[int, list[str]] = {}
        self.folders: set[Path] = set()

    def step_end(self, run, step, scalars):
        self.folders.add(run)
        self.scalars[step] = scalars

    def images(self, run, step, prompts, images):
        assert all(isinstance(image, Image.Image) for image in images)
        assert len(images) == len(prompts)
        self.shown[step] = prompts


def test_a_run_can_be_trained_read_and_plotted(tmp_path, capsys):
    witness = Witness()
    settings = {"train": {**{k.split(".")[1]: v for k, v in SMALL.items()}, "steps": 6, "log_every": 2}}
    run = t2ikit.train(
        TOYS,
        recipe="toys/denoiser",
        set=settings,
        out=str(tmp_path / "run"),
        seed=3,
        device="cpu",
        callbacks=[witness],
        progress=False,
    )
    assert isinstance(run, t2ikit.Run)
    assert (run.finished, run.steps_done, run.info["seed"]) == (True, 6, 3)
    losses = {line["step"]: line["loss/contrast"] for line in run.log() if "loss/contrast" in line}
    assert list(losses) == [2, 4, 6]
    assert witness.folders == {run.path}
    told = {step: line["loss/contrast"] for step, line in witness.scalars.items() if "loss/contrast" in line}
    assert told == losses
    assert witness.shown == {6: ["a red square", "a blue square"]}
    assert run.grid is not None
    assert Image.open(run.grid).size[0] > 16
    assert run.table == open_run(run.path).table
    model = run.model()  # with the plugin file that it was trained with
    assert model.generator.image_size == 16
    out, err = capsys.readouterr()
    assert (out, err) == ("", "")


def test_a_gan_and_then_a_denoiser_in_one_process_are_what_each_is_alone(tmp_path):
    alone = train_toy(tmp_path / "alone", {"train.steps": 3})
    train_toy(tmp_path / "gan", {"train.steps": 3, "train.precision": "bf16"}, recipe="toys/gan")
    after = train_toy(tmp_path / "after", {"train.steps": 3})
    assert state_of(after.path) == state_of(alone.path)


def test_a_run_goes_on_with_the_plugins_it_was_trained_with(tmp_path):
    run = train_toy(tmp_path / "run", {"train.steps": 1})
    longer = t2ikit.train(resume=run, set={"train.steps": 2}, device="cpu", progress=False)
    assert longer.steps_done == 2
    with pytest.raises(UserError, match="was made with plugin 'toys'"):
        t2ikit.train(resume=run.path, device="cpu", progress=False)


def test_in_another_thread_it_leaves_signals_alone(tmp_path):
    found = []
    before = signal.getsignal(signal.SIGINT)
    during = At(2, lambda: found.append(signal.getsignal(signal.SIGINT)))

    def work():
        settings = {"train.steps": 2, "train.log_every": 1}
        found.append(train_toy(tmp_path / "run", settings, callbacks=[during]))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(120)
    assert found[0] is before
    assert found[1].finished


def test_a_second_interrupt_stops_at_once(tmp_path):
    def twice():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train_toy(tmp_path / "run", {"train.log_every": 1}, callbacks=[At(4, twice)])
    assert signal.getsignal(signal.SIGINT) is before
    run = open_run(tmp_path / "run")
    assert (run.steps_done, run.finished, len(run.log())) == (3, False, 4)
    assert train_toy(resume=run.path).finished


def test_callbacks_are_told_in_one_call_only(tmp_path):
    registry = Registry.load([])
    plugins = set(registry.manager.get_plugins())
    witness = Witness()
    with observing(registry, [witness, At(1, lambda: None)]):
        registry.hook.t2ikit_step_end(run=tmp_path, step=1, scalars={"loss/a": 1.0})
        registry.hook.t2ikit_images(run=tmp_path, step=1, prompts=[], images=[])
    registry.hook.t2ikit_step_end(run=tmp_path, step=2, scalars={})
    assert witness.scalars == {1: {"loss/a": 1.0}}
    assert witness.shown == {1: []}
    assert set(registry.manager.get_plugins()) == plugins


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"callbacks": [print]}, "callbacks: an object that has nothing to call"),
        ({"resume": "runs/a", "recipe": "imagen/default"}, "resume does not go with recipe"),
        ({"set": {"train.setps": 3}}, "did you mean 'steps'"),
        ({"minutes": 0}, "minutes: this is no time to train for"),
        ({"minutes": 1, "set": ["train.steps=3"]}, "do not go together"),
        ({"plugin": "imagine"}, "did you mean 'imagen'"),
        ({"data": "no/such/folder"}, "there is no such"),
    ],
)
def test_mistakes_are_user_errors_before_anything_is_written(options, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        t2ikit.train(**{"plugin": "imagen", "device": "cpu", **options})
    assert expected in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_calls_it_with_the_same_options(monkeypatch, tmp_path, capsys):
    told, parameters = {}, inspect.signature(t2ikit.train).parameters

    def train(plugin, **options):
        told.update(options, plugin=plugin)
        raise UserError("enough")

    monkeypatch.setattr(train_function, "train", train)
    words = ["--plugin", "imagen", "--plugin", "./a.py", "--recipe", "r", "--data", "d", "--set", "a.b=1,2"]
    words += ["--out", "o", "--seed", "4", "--device", "cpu", "--minutes", "2.5"]
    assert main(["train", *words]) == 2
    assert told == {
        "plugin": ["imagen", "./a.py"],
        "recipe": "r",
        "data": ["d"],
        "set": ["a.b=1,2"],
        "out": Path("o"),
        "seed": 4,
        "device": "cpu",
        "minutes": 2.5,
        "resume": None,
        "init": None,
        "init_partial": False,
    }
    assert set(told) <= set(parameters)


def test_read_recipe_finds_checks_and_overlays():
    recipe = read_recipe("imagen/default", set={"train.batch": 8, "data.count": 32}, data="creatures")
    assert (recipe.train.batch, recipe.table()["data"]["count"]) == (8, 32)
    assert read_recipe(plugin="imagen").name == "imagen/default"
    assert read_recipe("toys/gan", registry=Registry.load([str(TOYS)])).critics
    with pytest.raises(UserError, match=r"train\.batch"):
        read_recipe(plugin="imagen", set={"train.batch": 0})
