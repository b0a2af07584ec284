"""Runs that begin with the weights of another: what is taken, what is refused, what the new run remembers."""

from __future__ import annotations

import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

import t2ikit
from conftest import TOYS
from t2ikit import UserError, open_run
from t2ikit.cli import main
from t2ikit.config.toml import load_toml
from t2ikit.exporters.card import _origin
from t2ikit.memory.dry_run import forecast_training
from t2ikit.runs import checkpoint as ckpt
from t2ikit.training.finetuning.recipe import SHARE, WARMUP, fading
from t2ikit.training.finetuning.weights import SHOWN, fit
from training_support import SMALL, At, Killed, export_of, info_of, kill, no_curves, state_of, train_toy  # noqa: F401

STILL = {"train.steps": 1, "optimizer.generator.lr": 1e-9}
"""Settings under which the weights stay what they began as."""
OTHER = {**STILL, "losses.contrast.weight": 0}
"""The same on data whose captions the toys' loss of words cannot read."""
GAN = {"data.size": 16, "train.steps": 2, "train.log_every": 1}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return tmp_path_factory.mktemp("finetuning")


@pytest.fixture(scope="module")
def origin(made):
    return train_toy(made / "origin", {"train.steps": 8, "data.size": 16, "train.ema_decay": 0.99})


@pytest.fixture(scope="module")
def gan(made):
    return train_toy(made / "gan", GAN, recipe="toys/gan")


def tune(run, out, callbacks=(), partial=False, **settings):
    options = {"device": "cpu", "progress": False, "callbacks": callbacks, "init_partial": partial}
    return t2ikit.train(TOYS, init=run, out=out, set=settings, **options)


def weights_of(run, part):
    return load_file(ckpt.checkpoints(run.path)[-1] / f"{part}.safetensors")


def assert_same(found, expected):
    assert set(found) == set(expected)
    for name, own in expected.items():
        torch.testing.assert_close(found[name], own, atol=1e-6, rtol=0)


def test_it_begins_with_the_averaged_weights(origin, tmp_path):
    begun = weights_of(tune(origin, tmp_path / "new", **STILL), "generator")
    assert_same(begun, weights_of(origin, "ema"))
    assert any(not torch.allclose(own, begun[name]) for name, own in weights_of(origin, "generator").items())


def test_precision_is_chosen_anew_where_it_was_chosen(origin, tmp_path, monkeypatch):
    auto = open_run(shutil.copytree(origin.path, tmp_path / "auto"))
    recipe = auto.path / "recipe.toml"
    recipe.write_text(recipe.read_text().replace('precision = "no"', 'precision = "auto"'))
    export_of(auto, tmp_path / "exported")
    monkeypatch.setattr("t2ikit.core.precision.cpu_has_bf16", lambda: True)
    monkeypatch.setattr("t2ikit.core.precision.measure_gain", lambda: 2.0)
    for path, place in ((auto.path, "from-run"), (tmp_path / "exported", "from-export")):
        assert open_run(path).table["train"]["precision"] == "no"  # in which it is sampled
        new = t2ikit.train(TOYS, init=path, set=STILL, out=tmp_path / place, device="cpu", progress=False)
        assert load_toml(new.path / "recipe.toml")["train"]["precision"] == "auto"
        assert new.table["train"]["precision"] == "bf16"
    kept = t2ikit.train(TOYS, init=origin, set=STILL, out=tmp_path / "kept", device="cpu", progress=False)
    assert kept.table["train"]["precision"] == "no"  # as it was asked for


def test_the_run_gives_plugin_and_recipe_gentler_and_settings_come_last(origin, tmp_path):
    new = t2ikit.train(init=origin, out=tmp_path / "new", device="cpu", progress=False)  # without a plugin
    old = origin.table
    assert new.table["train"] == {**old["train"], "steps": round(SHARE * 8)}
    own = old["optimizer"]["generator"]
    assert new.table["optimizer"]["generator"] == {**own, "lr": SHARE * own["lr"], "warmup_steps": WARMUP}
    assert {key: new.table[key] for key in ("generator", "losses", "text", "sampler", "data")} == {
        key: old[key] for key in ("generator", "losses", "text", "sampler", "data")
    }
    other = tune(origin, tmp_path / "other", **STILL, **{"optimizer.generator.warmup_steps": 0})
    assert other.table["optimizer"]["generator"]["lr"] == 1e-9
    assert other.table["optimizer"]["generator"]["warmup_steps"] == 0


def test_other_data_and_another_size_bring_their_own_prompts(origin, tmp_path):
    options = {"device": "cpu", "progress": False, "set": {**OTHER, "data.size": 32}}
    new = t2ikit.train(TOYS, init=origin, data="creatures", out=tmp_path / "new", **options)
    assert (new.table["data"]["spec"], new.image_size) == ("creatures", 32)
    assert new.table["train"]["prompts"] == []
    assert_same(weights_of(new, "generator"), weights_of(origin, "ema"))


def test_a_recipe_of_ones_own_is_taken_as_it_stands(origin, tmp_path):
    options = {"device": "cpu", "progress": False, "set": {**SMALL, "train.steps": 1}}
    new = t2ikit.train(TOYS, recipe="toys/denoiser", init=origin, out=tmp_path / "new", **options)
    assert new.table["optimizer"]["generator"]["lr"] == 1e-3
    assert info_of(new.path)["origin"]["run"] == "origin"


def test_words_of_both_runs_are_known(origin, tmp_path):
    options = {"device": "cpu", "progress": False, "set": OTHER}
    new = t2ikit.train(TOYS, init=origin, data="creatures", out=tmp_path / "new", **options)
    words, before = new.model().words, origin.model().words
    assert before.items() - words.items() <= {("a", before["a"])}  # which the second's captions have, too
    assert words["a"] > before["a"]
    assert set(words) > set(before)


def test_where_it_began_is_recorded_and_told(origin, tmp_path):
    first = tune(origin, tmp_path / "first", **STILL)
    second = tune(first, tmp_path / "second", **STILL)
    told = info_of(second.path)["origin"]
    expected = {"kind": "fine-tuned", "step": 8, "generator": "toys/denoiser", "data": "squares-16"}
    assert told["origin"] == {**expected, "run": "origin"}
    assert (told["run"], told["step"]) == ("first", 1)
    lines = [line for line in _origin(second) if line]
    assert lines[0].startswith("Fine-tuned from `first` (toys/denoiser) at step 1")
    assert lines[1].startswith("Fine-tuned before that from `origin` (toys/denoiser) at step 8")


def test_killed_and_resumed_without_its_origin_it_ends_as_if_it_had_never_stopped(origin, tmp_path):
    gone = replace(origin, path=shutil.copytree(origin.path, tmp_path / "gone"))
    settings = {"train.steps": 4, "train.save_every": 2, "train.log_every": 1}
    whole = tune(gone, tmp_path / "whole", **settings)
    with pytest.raises(Killed):
        tune(gone, tmp_path / "killed", [At(3, kill)], **settings)
    shutil.rmtree(gone.path)
    t2ikit.train(TOYS, resume=tmp_path / "killed", device="cpu", progress=False)
    assert state_of(tmp_path / "killed") == state_of(whole.path)


# ---------------------------------------------------------------- critics and losses


def test_critics_and_losses_are_taken_where_the_checkpoint_has_them(gan, origin, tmp_path):
    still = {**STILL, "optimizer.critic.lr": 1e-9}
    assert_same(weights_of(tune(gan, tmp_path / "gan", **still), "critic"), weights_of(gan, "critic"))
    new = tune(origin, tmp_path / "new", **STILL)
    assert_same(weights_of(new, "losses.generator"), weights_of(origin, "losses.generator"))
    assert weights_of(origin, "losses.generator")["learned-variance.log_variance"].item() != 0


def test_critics_of_an_export_and_new_ones_begin_anew(gan, tmp_path, capsys):
    export = export_of(gan, tmp_path / "export")
    t2ikit.train(TOYS, init=export, out=tmp_path / "new", set={"train.steps": 1}, device="cpu")
    assert "begin anew, as export has no weights of them: main, second" in capsys.readouterr().err
    settings = {"train.steps": 1, "critics.third.use": "toys/critic", "optimizer.critic.lr": 1e-9}
    new = tune(gan, tmp_path / "third", **settings)
    begun, before = weights_of(new, "critic"), weights_of(gan, "critic")
    assert_same({name: own for name, own in begun.items() if name in before}, before)
    assert {name.split(".")[0] for name in set(begun) - set(before)} == {"third"}


def test_a_critic_that_is_another_is_refused(gan, tmp_path):
    with pytest.raises(UserError, match="init gan: 3 tensors do not fit") as caught:
        tune(gan, tmp_path / "new", **{"critics.main.width": 16, "text.width": 24})
    assert "critics.main.text.weight: expected 16x24, got 16x16" in str(caught.value.got)


def test_a_trained_network_within_a_critic_must_be_there(origin, tmp_path):
    options = {"plugins": TOYS, "device": "cpu", "progress": False, "set": {**SMALL, "train.steps": 1}}
    student = t2ikit.distil(origin, out=tmp_path / "student", **options)
    settings = {"train.steps": 1, "optimizer.generator.lr": 1e-9, "optimizer.critic.lr": 1e-9}
    new = tune(student, tmp_path / "new", **settings)
    assert_same(weights_of(new, "critic"), weights_of(student, "critic"))
    with pytest.raises(UserError, match=r"lacks the trained network of critics\.score"):
        tune(export_of(student, tmp_path / "export"), tmp_path / "none")


# ---------------------------------------------------------------- what does not fit


def test_what_does_not_fit_is_named_and_refused_or_left_as_it_was(origin, tmp_path, capsys):
    with pytest.raises(UserError, match="init origin: a tensor does not fit") as caught:
        tune(origin, tmp_path / "none", **{"text.width": 24})
    assert caught.value.got == "generator.text.weight: expected 8x24, got 8x16"
    assert "init_partial" in caught.value.fix
    assert not (tmp_path / "none").exists()
    settings = {**STILL, "text.width": 24}
    new = t2ikit.train(TOYS, init=origin, init_partial=True, out=tmp_path / "new", set=settings, device="cpu")
    said = capsys.readouterr().err
    assert "init_partial: 5 of 6 tensors are origin's; the others begin anew" in said
    assert "text: not the encoder of origin" in said
    begun, before = weights_of(new, "generator"), weights_of(origin, "ema")
    assert_same({**begun, "text.weight": before["text.weight"]}, before)
    assert begun["text.weight"].shape == (8, 24)
    assert info_of(new.path)["origin"]["tensors"] == [5, 6]


def test_a_long_list_is_cut_and_nothing_at_all_is_refused_whatever_is_asked(gan, tmp_path):
    options = {"recipe": "toys/denoiser", "device": "cpu", "progress": False, "out": tmp_path / "new"}
    with pytest.raises(UserError, match="init gan: 7 tensors do not fit") as caught:
        t2ikit.train(TOYS, init=gan, **options, set={"text.width": 24})
    assert "generator.draw.weight: left over, 768x16" in str(caught.value.got)
    found = fit({str(i): torch.zeros(2, 3) for i in range(SHOWN + 3)}, {"x": torch.zeros(())})
    assert found.misfits[0] == "0: expected 2x3, got none"
    assert found.misfits[-1] == "x: left over, a number"


def test_it_does_not_go_with_everything(origin, tmp_path):
    out = {"out": tmp_path / "new", "progress": False, "device": "cpu"}
    with pytest.raises(UserError, match="init_partial goes with init"):
        t2ikit.train("imagen", init_partial=True, **out)
    with pytest.raises(UserError, match="resume does not go with init"):
        t2ikit.train(resume=origin, init=origin)
    with pytest.raises(UserError, match="plugin gigagan: the run origin is of another plugin"):
        t2ikit.train(["gigagan", TOYS], init=origin, **out)
    with pytest.raises(UserError, match="made with plugin 'toys', which is not here"):
        t2ikit.train(init=origin.path, **out)
    with pytest.raises(UserError, match="there is no training to go on with") as caught:
        t2ikit.train(TOYS, resume=export_of(origin, tmp_path / "export"))
    assert "--init" in caught.value.fix


def test_at_the_command_line(origin, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["train", "--init", str(origin.path), "--plugin", str(TOYS), "--device", "cpu"]
    assert main([*words, "--set", "text.width=24"]) == 2
    assert "--init-partial to take what fits" in capsys.readouterr().err
    assert main([*words, "--dry-run", "--set", "train.steps=3"]) == 0
    assert "note: fine-tuning origin from step 8: 3 steps" in capsys.readouterr().out
    assert not (tmp_path / "runs").exists()
    assert main([*words, "--init-partial", "--set", "text.width=24", "--set", "train.steps=1"]) == 0
    assert open_run("runs/toys-001").info["origin"]["tensors"] == [5, 6]


def test_data_that_is_no_longer_shown_is_named(origin, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spec = open_run(origin.path).table["data"]["spec"]
    words = ["train", "--init", str(origin.path), "--plugin", str(TOYS), "--device", "cpu", "--dry-run"]
    kept = f"is not shown and fades; --data {spec} beside the new data keeps it"
    other = ["--data", "creatures", "--set", "losses.contrast.weight=0"]
    assert main([*words, *other]) == 0
    assert f"data: what {origin.path.name} was trained on {kept}" in unwrapped(capsys.readouterr().out)
    assert main([*words, *other, "--data", spec]) == 0
    assert main(words) == 0
    assert "fades" not in unwrapped(capsys.readouterr().out)


def test_a_folder_is_the_same_however_it_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a set").mkdir()

    def told(old, new):
        run = SimpleNamespace(name="origin", table={"data": {"spec": old}})
        data = SimpleNamespace(table=lambda: {"spec": new})
        return fading(run, SimpleNamespace(parts={"data": data}))

    assert told("a set", str(tmp_path / "a set")) is None
    assert told("a set", "creatures") == (
        "data: what origin was trained on is not shown and fades; data 'a set' beside the new data keeps it"
    )
    assert "\x1b" not in told("\x1b[2J", "creatures")


def unwrapped(text):
    return " ".join(text.split())


def test_a_dry_run_refuses_what_training_would(origin):
    with pytest.raises(UserError, match="a tensor does not fit"):
        forecast_training(TOYS, init=origin, set={"text.width": 24}, device="cpu", progress=False)
