"""Averages whose length is chosen after training: stored on the way, resumed, put together, sampled."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import t2ikit
from conftest import TOYS
from t2ikit.errors import T2ikitWarning, UserError
from t2ikit.nn.averaging.power import WIDTHS, exponent
from t2ikit.recipes.schema import TrainConfig
from t2ikit.registry.registry import Registry
from t2ikit.runs import checkpoint as ckpt
from t2ikit.runs.averages import FOLDER, RunAverages, cut_averages, synthesised
from training_support import At, Killed, kill, no_curves, state_of, train_toy

__all__ = ["no_curves"]
STEPS = {"train.steps": 12, "train.save_every": 6, "train.ema_snapshots": 4, "train.sample_every": 100}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return train_toy(tmp_path_factory.mktemp("averaged") / "run", STEPS)


@pytest.fixture
def run(trained, tmp_path):
    return t2ikit.open_run(shutil.copytree(trained.path, tmp_path / "run"))


def stored(run: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(run)): path.read_bytes()
        for path in sorted((run / FOLDER).rglob("*.safetensors"))
    }


def test_averages_are_stored_evenly_in_half_precision_and_change_nothing_else(trained, tmp_path):
    assert [ckpt.step_of(path) for path in sorted((trained.path / FOLDER).iterdir())] == [3, 6, 9, 12]
    for path in (trained.path / FOLDER).rglob("*.safetensors"):
        assert {tensor.dtype for tensor in load_file(path).values()} == {torch.float16}
    without = train_toy(tmp_path / "without", {**STEPS, "train.ema_snapshots": 0})
    assert not (without.path / FOLDER).exists()
    expected = state_of(without.path)["tensors"]
    found = state_of(trained.path)["tensors"]
    assert {name: found[name] for name in expected} == expected
    assert {name.split("/")[0] for name in found.keys() - expected.keys()} == {
        f"average-{width:g}.safetensors" for width in WIDTHS
    }


def test_a_killed_run_goes_on_bit_identically(trained, tmp_path):
    """Between two checkpoints, after averages were stored that are then stored again."""
    with pytest.raises(Killed):
        train_toy(tmp_path / "run", {**STEPS, "train.log_every": 1}, callbacks=[At(10, kill)])
    assert (tmp_path / "run" / FOLDER / "step-00000009").is_dir()
    (tmp_path / "run" / FOLDER / ".writing-step-00000012").mkdir()
    train_toy(resume=tmp_path / "run")
    assert state_of(tmp_path / "run")["tensors"] == state_of(trained.path)["tensors"]
    assert stored(tmp_path / "run") == stored(trained.path)
    assert not list((tmp_path / "run" / FOLDER).glob(".*"))


def test_what_a_dead_branch_stored_is_deleted(run):
    cut_averages(run.path, 6)
    assert [path.name for path in sorted((run.path / FOLDER).iterdir())] == ["step-00000003", "step-00000006"]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("checkpoint", [6, 12])
def test_a_width_that_was_kept_is_given_back(run, width, checkpoint):
    snapshot = run.snapshot(checkpoint)
    found = synthesised(run.path, snapshot, width)
    assert set(found) == set(snapshot.tensors["generator"])
    for name, kept in snapshot.tensors[f"average-{width:g}"].items():
        torch.testing.assert_close(found[name], kept, atol=2e-6, rtol=1e-5)
    assert any(not torch.equal(found[name], snapshot.tensors["generator"][name]) for name in found)


@pytest.mark.filterwarnings("ignore::t2ikit.errors.T2ikitWarning")
@pytest.mark.parametrize("width", [0.02, 0.07, 0.15, 0.28])
def test_weights_that_stand_still_come_out_as_they_are(run, width):
    """Exactly, but for half precision: every stored average is the same."""
    snapshot = run.snapshot()
    still = {name: torch.full_like(tensor, 0.75) for name, tensor in snapshot.tensors["average-0.1"].items()}
    parts = {"average-0.05": still, "average-0.1": still}
    snapshot.tensors |= parts
    for step in (3, 6, 9):
        ckpt.save(run.path, ckpt.Snapshot(step, parts, {"average_steps": step}), FOLDER)
    found = synthesised(run.path, snapshot, width)
    for name, tensor in still.items():
        torch.testing.assert_close(found[name], tensor, atol=1e-6, rtol=0)


def test_a_synthesised_average_is_that_of_the_weights_themselves(tmp_path):
    """The witness: a run whose weights are kept after every step, averaged in float64."""
    module = torch.nn.Linear(3, 2)
    (tmp_path / "run").mkdir()
    config = TrainConfig(steps=96, ema_snapshots=12)
    averages, seen = RunAverages(module, tmp_path / "run", config), []
    torch.manual_seed(0)
    for step in range(1, 97):
        with torch.no_grad():
            module.weight.add_(0.1 * torch.randn(2, 3) + 0.02)
        averages.step()
        seen.append(module.weight.detach().double().clone())
        if averages.due(step):
            averages.store(step)
    snapshot = ckpt.Snapshot(96, {"generator": dict(module.state_dict())})
    averages.keep_in(snapshot)
    ends = torch.arange(97, dtype=torch.float64) / 96
    for width in (0.04, 0.07, 0.15):
        shares = (ends ** (exponent(width) + 1)).diff()
        expected = (shares[:, None, None] * torch.stack(seen)).sum(0)
        found = synthesised(tmp_path / "run", snapshot, width)["weight"].double()
        moved = (expected - seen[-1]).abs().mean()
        assert (found - expected).abs().mean() < 0.1 * moved, width


def test_a_run_without_averages_says_what_to_do(tmp_path):
    run = train_toy(tmp_path / "run", {"train.steps": 2})
    with pytest.raises(UserError, match="kept no averages") as error:
        run.model(Registry.load([str(TOYS)]), ema=0.1)
    assert "train.ema_snapshots=12" in str(error.value.fix)
    with pytest.raises(UserError, match="cannot change when a run goes on"):
        train_toy(resume=run, set={"train.ema_snapshots": 4})


def test_lengths_that_cannot_be_had_are_refused_or_warned_of(run):
    for width in (0.001, 0.3):
        with pytest.raises(UserError, match="no average of this length"):
            synthesised(run.path, run.snapshot(), width)
    with pytest.raises(UserError, match="no such weights"):
        run.model(ema=0.1, weights="raw")
    with pytest.warns(T2ikitWarning, match="is only approximate"):
        synthesised(run.path, run.snapshot(), 0.01)
    damaged = run.path / FOLDER / "step-00000006" / "average-0.1.safetensors"
    save_file({"other": torch.zeros(1)}, damaged)
    with pytest.raises(UserError, match="missing or damaged") as error:
        synthesised(run.path, run.snapshot(), 0.15)
    assert "the other averages will do" in str(error.value.fix)


@pytest.mark.parametrize(
    ("minutes", "steps", "limit", "expected"),
    [
        (0, 1000, 4, [250, 500, 750, 1000]),
        (0, 10, 4, [3, 6, 9]),
        (0, 3, 12, [1, 2, 3]),
        (5, 1000, 4, [25, 50, 75, 100, 150, 200, 300, 400, 600, 800]),
    ],
)
def test_when_averages_are_stored(minutes, steps, limit, expected):
    config = TrainConfig(steps=steps, minutes=minutes, ema_snapshots=limit)
    averages = RunAverages(torch.nn.Linear(1, 1), Path("nowhere"), config)
    assert [step for step in range(1, steps + 1) if averages.due(step)] == expected


def test_a_bounded_number_is_left_evenly_spaced_with_the_last(tmp_path):
    averages = RunAverages(torch.nn.Linear(1, 1), tmp_path, TrainConfig(minutes=5, ema_snapshots=4))
    for step in range(1, 801):
        averages.step()
        if averages.due(step):
            averages.store(step)
    left = [ckpt.step_of(path) for path in sorted((tmp_path / FOLDER).iterdir())]
    assert left == [200, 400, 600, 800]


def test_values_beyond_half_precision_are_stored_in_full(tmp_path):
    module = torch.nn.Linear(1, 1)
    torch.nn.init.constant_(module.weight, 1e6)
    averages = RunAverages(module, tmp_path, TrainConfig(ema_snapshots=4))
    averages.step()
    averages.store(1)
    found = load_file(tmp_path / FOLDER / "step-00000001" / "average-0.1.safetensors")
    assert found["weight"].item() == 1e6
    assert found["bias"].dtype == torch.float16


@pytest.mark.filterwarnings("ignore::t2ikit.errors.T2ikitWarning")
def test_every_length_is_sampled_and_named_in_its_results(run):
    options = {"metrics": ["colours"], "n": 4, "plugins": TOYS, "device": "cpu"}
    swept = t2ikit.sweep(run, {"ema": [0.05, 0.2]}, **options)
    assert [found.settings["ema"] for found in swept.evaluations] == [0.05, 0.2]
    images = [found.image_set.images for found in swept.evaluations]
    for width, of_sweep in zip((0.05, 0.2), images, strict=True):
        alone = t2ikit.evaluate(run, ema=width, **options)
        assert alone.settings["ema"] == width
        assert torch.equal(alone.image_set.images[: len(of_sweep)], of_sweep)
    assert not torch.equal(*images)
    assert json.loads((run.path / "evaluations" / f"{swept.name}.json").read_text())["axes"] == {
        "ema": ["0.05", "0.2"]
    }
    plain = t2ikit.evaluate(run, **options)
    assert "ema" not in plain.settings
    with pytest.raises(UserError, match="no average of this length"):
        t2ikit.sweep(run, {"ema": [0.05, 0.9]}, **options)


def test_a_gan_keeps_averages_too(tmp_path):
    run = train_toy(tmp_path / "gan", {"train.steps": 4, "train.ema_snapshots": 2}, recipe="toys/gan")
    weights = [run.model(ema=ema).generator.state_dict() for ema in (None, 0.05, 0.1)]
    for one, other in ((0, 1), (1, 2)):
        assert any(not torch.equal(weights[one][name], weights[other][name]) for name in weights[0])
    kept = load_file(run.path / "checkpoints" / "step-00000004" / "average-0.1.safetensors")
    for name, tensor in kept.items():
        torch.testing.assert_close(weights[2][name], tensor, atol=2e-6, rtol=1e-5)


def test_a_sample_takes_a_length(run):
    found = {
        ema: t2ikit.sample(run, "a red square", n=1, ema=ema, plugins=TOYS, device="cpu").images
        for ema in (None, 0.05, 0.1)
    }
    assert not torch.equal(found[None], found[0.1])
    assert not torch.equal(found[0.05], found[0.1])
