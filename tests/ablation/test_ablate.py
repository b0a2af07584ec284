"""`t2ikit ablate` from command to report: whole at toy size; its order, and going on, with stubs."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from filelock import FileLock
from PIL import Image

import t2ikit
from conftest import TESTS, TOYS
from t2ikit.ablation import ablate, trials
from t2ikit.ablation.folder import LOCK
from t2ikit.ablation.plan import read_plan
from t2ikit.core.metric import Measure

HUBER = TESTS.parent / "examples" / "huber.py"
PROMPTS = ["a red cat with blue eyes is sleeping", "a blue bird with red eyes is flying"]
SMALL = ["train.samples=1", "train.validation_images=4", "train.batch=4", "train.log_every=2"]


@pytest.fixture
def stubs(monkeypatch):
    """Trainings and evaluations that are counted and cost nothing; `stop_at`: the one that is interrupted."""
    seen = SimpleNamespace(trained=[], measured=[], stop_at=None, data="first")

    def train(plugins, *, out, seed, set, **_):
        seen.trained.append((out.name, seed, tuple(set)))
        finished, table = len(seen.trained) != seen.stop_at, {"train": {"batch": 4}, "data": {"spec": "x"}}
        run = SimpleNamespace(
            finished=finished, path=out, table=table, info={"seed": seed, "data_fingerprint": seen.data}
        )
        run.log = lambda: [{"step": 4, "images_per_second": 2.0}]
        return run

    def measure(evaluator):
        seen.measured.append(evaluator.run.path.name)
        folder = evaluator.run.path / "evaluations" / "one"
        (folder / "drawn").mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (16, 16), (number, 0, 0)).save(folder / "drawn" / f"{number:05d}.png")
        better = 10.0 * ("with-1" in str(folder)) + evaluator.run.info["seed"] / 10
        measures = {
            f"prompt-accuracy/{name}": Measure(
                40 + better * (1 + evaluator.run.info["seed"] / 50), 2, unit="%", better="higher"
            )
            for name in ("joint", "colour", "species", "action", "eyes")
        }
        images = SimpleNamespace(prompts=PROMPTS, images=torch.zeros(2, 3, 32, 32))
        return SimpleNamespace(measures=measures, image_set=images, folder=folder, not_measured={})

    monkeypatch.setattr(trials, "train", train)
    monkeypatch.setattr(trials, "Evaluator", lambda run, *_, **__: SimpleNamespace(run=run))
    monkeypatch.setattr(trials, "measure_and_write", measure)
    return seen


def call(out, **more):
    options = {"plugin": TOYS, "recipe": ["toys/denoiser", "toys/gan"], "steps": 4, "n": 8, "base": SMALL}
    return t2ikit.ablate(HUBER, **options | more, out=out, device="cpu", progress=False)


def test_pairs_have_the_same_seeds_and_settings(stubs, tmp_path):
    found = call(tmp_path / "one", seeds=3)
    assert [name for name, *_ in stubs.trained] == stubs.measured
    base = (*SMALL, "train.steps=4")
    for seed in range(3):
        arms = [given for _, own, given in stubs.trained if own == seed]
        assert sorted(arms, key=len) == [
            base,
            (*base, "losses.huber.use=huber/huber", "losses.huber.weight=1"),
        ]
    assert found.verdict.startswith(
        "losses.huber.weight=1: helps on toys-denoiser: mean of the four attributes"
    )
    assert "left out of toys-gan" in found.verdict
    assert found.verdict in found.html.replace("&#39;", "'")
    assert [row.name for row in found.results[0].rows][:2] == [trials.ATTRIBUTES, "prompt-accuracy/joint"]


@pytest.mark.parametrize("base", ["train.steps=6", "train.minutes=1"])
def test_base_may_say_how_long_runs_train(stubs, tmp_path, base):
    call(tmp_path / "one", seeds=1, steps=None, base=base)
    assert {given[0] for *_, given in stubs.trained} == {base}
    assert not any("train.steps=200" in given for *_, given in stubs.trained)
    with pytest.raises(t2ikit.UserError, match="steps does not go with base train"):
        call(tmp_path / "two", seeds=1, steps=4, base=base)
    assert not (tmp_path / "two").exists()


def test_a_run_that_another_process_trains_is_left_alone(stubs, tmp_path):
    stubs.stop_at = 1
    call(tmp_path, seeds=1)
    run = tmp_path / "runs" / stubs.trained[0][0]
    run.mkdir(parents=True)  # and no checkpoint yet
    (run / "log.jsonl").touch()
    with FileLock(run / ".training.lock"), pytest.raises(t2ikit.UserError, match="another process"):
        call(tmp_path, seeds=1)
    assert (run / "log.jsonl").exists()
    assert call(tmp_path, seeds=1).finished  # once that process was killed, it is begun again
    assert not (run / "log.jsonl").exists()


def test_runs_on_data_that_changed_are_not_compared(stubs, tmp_path):
    stubs.stop_at = 2
    call(tmp_path, seeds=1)
    stubs.data = "second"
    for _ in range(2):
        with pytest.raises(t2ikit.UserError, match="the data has changed since the ablation began"):
            call(tmp_path, seeds=1)
    assert not (tmp_path / "report.html").exists()
    stubs.data = "first"
    assert call(tmp_path, seeds=1).finished


def test_a_recipe_that_changed_begins_another_ablation(stubs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = tmp_path / "mine.toml"
    recipe.write_text('extends = "toys/denoiser"\n')
    stubs.stop_at = 1
    assert call(None, seeds=1, recipe=recipe).folder.name == "ablate-001"
    recipe.write_text('extends = "toys/denoiser"  # the same\n')
    assert call(None, seeds=1, recipe=recipe).folder.name == "ablate-001"
    (tmp_path / "runs" / "ablate-001" / "report.html").unlink()
    recipe.write_text('extends = "toys/denoiser"\ntrain.ema_decay = 0.5\n')
    with pytest.raises(t2ikit.UserError, match="the recipe mine has changed since the ablation began"):
        t2ikit.ablate(resume="runs/ablate-001", device="cpu")
    assert call(None, seeds=1, recipe=recipe).folder.name == "ablate-002"


def test_a_recipe_that_changes_meanwhile_stops_the_ablation(stubs, tmp_path, monkeypatch):
    recipe = tmp_path / "mine.toml"
    recipe.write_text('extends = "toys/denoiser"\n')
    measure = trials.measure_and_write

    def edited(evaluator):
        recipe.write_text('extends = "toys/denoiser"\ntrain.ema_decay = 0.5\n')
        return measure(evaluator)

    monkeypatch.setattr(trials, "measure_and_write", edited)
    with pytest.raises(t2ikit.UserError, match="the recipe mine has changed"):
        call(tmp_path / "one", seeds=1, recipe=recipe)
    assert len(stubs.trained) == 1


def test_an_ablation_that_runs_is_left_alone(stubs, tmp_path):
    stubs.stop_at = 1
    call(tmp_path, seeds=1)
    with FileLock(tmp_path / LOCK), pytest.raises(t2ikit.UserError, match="this ablation is running"):
        call(tmp_path, seeds=1)
    assert len(stubs.trained) == 1
    assert call(tmp_path, seeds=1).finished


@pytest.mark.parametrize(("typed", "seeds"), [("2", [0, 1]), ("3,4", [3, 4])])
def test_seeds_at_the_command_line(stubs, cli_here, tmp_path, typed, seeds):
    words = f"{HUBER} --plugin {TOYS} --recipe toys/denoiser --steps 4 --out one --device cpu"
    assert cli_here("ablate", *words.split(), "--seeds", typed).returncode == 0
    assert sorted({seed for _, seed, _ in stubs.trained}) == seeds
    assert list(read_plan(tmp_path / "one").seeds) == seeds


def test_the_report_does_without_images_that_are_gone(stubs, tmp_path):
    whole = call(tmp_path, seeds=1)
    assert whole.html.count("<img") == 4
    first, *others = sorted(tmp_path.rglob("*.png"))
    first.unlink()
    others[-1].write_bytes(b"damaged")
    assert call(tmp_path, seeds=1).html.count("<img") == 2
    for path in others:
        path.unlink()
    found = call(tmp_path, seeds=1)
    assert "<img" not in found.html
    assert "The same prompts and noise" not in found.html
    assert found.verdict == whole.verdict


def test_time_is_left_out_of_runs_side_by_side(stubs, tmp_path, monkeypatch):
    alone = call(tmp_path / "alone", seeds=1)
    assert alone.results[0].slower is not None
    assert trials.TIME in [row.name for row in alone.results[0].rows]
    monkeypatch.setattr(ablate, "gpus", lambda device: ["0", "1"])
    monkeypatch.setattr(ablate, "run_all", lambda work, jobs, devices: all([*map(work, jobs)]))
    found = call(tmp_path / "beside", seeds=1)
    assert found.results[0].slower is None
    assert trials.TIME not in [row.name for row in found.results[0].rows]
    assert "not measured: the runs were side by side" in found.html


@pytest.mark.parametrize("stop_at", [1, 3, 6])
def test_it_goes_on_where_it_was_stopped_and_gives_the_same_report(stubs, tmp_path, stop_at):
    whole = call(tmp_path / "whole", seeds=3)
    first = list(stubs.trained)
    stubs.trained.clear(), stubs.measured.clear()
    stubs.stop_at = stop_at
    stopped = call(tmp_path / "part", seeds=3)
    assert not stopped.finished
    assert stopped.verdict == ""
    stubs.stop_at = None
    resumed = t2ikit.ablate(resume=tmp_path / "part", device="cpu", progress=False)
    assert len(stubs.measured) == len(set(stubs.measured)) == 6
    assert len(stubs.trained) == 7  # the one that was stopped, twice
    assert {name for name, *_ in stubs.trained} == {name for name, *_ in first}
    assert resumed.html == whole.html
    assert call(tmp_path / "part", seeds=3).html == whole.html  # all kept: the same command reads
    assert len(stubs.trained) == 7


def test_whole_at_toy_size(tmp_path, monkeypatch, capsys):
    """Really trained and measured; then nothing is done twice, and only what is missing."""
    gains = iter([2.0, 0.5])  # of a CPU that is timed before each run
    monkeypatch.setattr("t2ikit.core.precision.cpu_has_bf16", lambda: True)
    monkeypatch.setattr("t2ikit.core.precision.measure_gain", lambda: next(gains))
    found = call(tmp_path / "one", seeds=1, metrics="colours", base=[*SMALL, "train.precision=auto"])
    both = [t2ikit.open_run(run).table["train"]["precision"] for run in tmp_path.glob("one/runs/*")]
    assert both == ["bf16", "bf16"]
    assert capsys.readouterr().err.count("so there will be no verdict") == 1
    (result,) = found.results
    assert result.seeds == (0,)
    assert len(result.rows[0].difference.values) == 1
    assert (tmp_path / "one" / "report.html").read_text(encoding="utf-8") == found.html
    assert found.html.count("<img") == 2 * len(
        trials.read_record(found.folder, found.plan.trials()[0]).prompts
    )
    assert "colours/" in found.text()
    runs = sorted(tmp_path.glob("one/runs/*/run.json"))
    before = [path.stat().st_mtime_ns for path in runs]
    assert len(runs) == 2
    trials.record_file(found.folder, found.plan.trials()[1]).unlink()  # killed before it was measured
    again = t2ikit.ablate(resume=found.folder, device="cpu", progress=False)
    assert again.html == found.html
    assert [path.stat().st_mtime_ns for path in runs] == before


def test_killed_in_the_middle_the_same_command_gives_the_same_report(tmp_path):
    """While the second run trains; only what was timed differs."""
    base = [*SMALL, "train.save_every=2"]
    options = {"plugin": TOYS, "recipe": "toys/denoiser", "seeds": 1, "steps": 4, "n": 4}
    options |= {"metrics": "colours", "base": base}
    part = tmp_path / "part"
    code = (
        f"import t2ikit; t2ikit.ablate({str(HUBER)!r}, **{given(options)}, out={str(part)!r}, device='cpu')"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
    second = part / "runs" / "toys-denoiser-with-1-seed-0" / "checkpoints"
    until = time.monotonic() + 120
    while not (second.is_dir() and any(second.iterdir())) and process.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.002)
    process.kill()
    assert process.wait() != 0
    assert not (part / "report.html").exists()
    assert len(list((part / "records").iterdir())) == 1
    found = [
        t2ikit.ablate(HUBER, **options, out=folder, device="cpu", progress=False)
        for folder in (part, tmp_path / "whole")
    ]
    first, other = (
        [(row.name, row.without, row.difference) for row in one.results[0].rows if "colours/" in row.name]
        for one in found
    )
    assert first == other != []
    assert found[0].verdict == found[1].verdict
    shown = [re.findall(r'src="([^"]+)"', one.html) for one in found]
    assert shown[0] == shown[1] != []


def given(options) -> dict[str, object]:
    """Options as code can hold them."""
    return {name: str(one) if isinstance(one, Path) else one for name, one in options.items()}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("", "there is nothing to test"),
        ("--resume nowhere", "this is no ablation"),
        ("--resume nowhere --set a.b=1", "--resume does not go with --set"),
        (
            "--resume nowhere --seeds 3 --steps 200 -n 256 --metrics colours",
            "does not go with --seeds, --steps, -n, --metrics",
        ),
        ("--resume nowhere --base train.batch=4 --data creatures", "does not go with --base, --data"),
        ("--set train.batch=4 --seeds 0", "--seeds: there is nothing to do"),
        ("--set train.batch=4 --seeds 1,2,1", "--seeds: each seed is trained once"),
        ("--set train.batch=4 --seeds 3,four", "--seeds: these are no seeds"),
        ("--set train.batch=4 --seeds 3,-4", "--seeds: seeds are from 0"),
        (f"{HUBER} --plugin {TOYS} --recipe toys/gan", "huber needs target"),
        (
            f"{HUBER} --plugin {TOYS} --recipe toys/denoiser --set losses.huber.weight=1,1",
            "no list of values",
        ),
        (f"{HUBER} --plugin {TOYS} --recipe toys/denoiser --set losses.huber.weigth=1", "weigth"),
        (
            f"{HUBER} --plugin {TOYS} --recipe toys/denoiser --base losses.huber.every=2",
            "--set losses.huber.",
        ),
        (
            f"--plugin {TOYS} --recipe toys/denoiser --set train.batch=4 --base train.batch=4",
            "would be the same",
        ),
        (f"--plugin {TOYS} --recipe toys/nothing --set train.batch=4", "nothing"),
        ("./none.py", "none.py"),
    ],
)
def test_mistakes_are_refused_before_anything_is_trained(cli_here, tmp_path, words, says):
    found = cli_here("ablate", *words.split())
    assert found.returncode == 2
    assert says in found.stderr
    assert not (tmp_path / "runs").exists()
