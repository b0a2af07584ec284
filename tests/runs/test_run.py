"""Whole runs by the command line: training, images, numbers, trackers, memory."""

from __future__ import annotations

import io
import json
import os
import re
import sqlite3
from pathlib import Path

import pytest
from PIL import Image
from test_resume import IMAGEN
from test_trackers import wandb_history

from cli_process import run_command
from conftest import TOYS
from t2ikit import open_run
from t2ikit.runs.log import read_log

TOY = ["train", "--plugin", TOYS, "--recipe", "toys/denoiser"]
TINY_CREATURES = ["train", "--plugin", "imagen", *(word for s in IMAGEN for word in ("--set", s))]
FULL_MEMORY = """
import torch
from t2ikit import LossSpec, hookimpl

def greedy(step):
    if len(step.batch) > 2:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
    return step.fake[-1].square().mean() * 0

@hookimpl
def t2ikit_losses():
    return [LossSpec("greedy", lambda config, context: greedy)]
"""


@pytest.fixture(scope="module")
def creatures_run(tmp_path_factory):
    """A few steps of the imagen plugin on creatures."""
    folder = tmp_path_factory.mktemp("creatures")
    result = run_command([*TINY_CREATURES, "--out", "run"], cwd=folder, cold=True)
    assert result.returncode == 0, result.stderr
    return folder / "run", result


@pytest.mark.slow
def test_training_ends_with_a_grid_and_what_to_do_next(creatures_run):
    run, result = creatures_run
    assert "grid:" in result.stdout
    assert 't2ikit sample run "a prompt"' in result.stdout
    grids = sorted((run / "samples").iterdir())
    assert [grid.name for grid in grids] == ["step-00000006.png", "step-00000012.png"]
    assert Image.open(grids[-1]).size[0] > 100
    assert Image.open(run / "losses.png").size[0] > 300
    log = read_log(run / "log.jsonl")
    assert [line["step"] for line in log] == [3, 4, 5, 6, 8, 9, 10, 12]
    assert {"loss/denoise", "grad_norm/generator", "lr/generator", "images_per_second"} <= set(log[2])
    assert "validation/denoise" in log[0]


@pytest.mark.slow
def test_plain_lines_where_there_is_no_terminal(creatures_run):
    _, result = creatures_run
    assert re.search(
        r"step 12/12  eta 0:00:00  \d+ images/s  \d\.\d GiB  loss \d\.\d{4}  data \d+ %", result.stderr
    )
    assert "\x1b" not in result.stderr


@pytest.mark.slow
def test_sampling_repeats_and_other_prompts_do_not_matter(creatures_run, cli):
    run, _ = creatures_run
    words = ["sample", run, "a green cat", "-n", 2, "--guidance", 0.1, "--guidance", 3]
    assert cli(*words, "--out", run / "a").returncode == 0
    assert cli(*words, "--out", run / "b").returncode == 0
    assert cli("sample", run, "a red fish", *words[2:], "--out", run / "c").returncode == 0
    a, b, c = ({p.name[4:]: p.read_bytes() for p in (run / x).glob("*-a-green-cat-*.png")} for x in "abc")
    assert len(a) == 4
    assert a == b
    close = [
        abs(pixel - other)
        for name in a
        for pixel, other in zip(pixels(a[name]), pixels(c[name]), strict=True)
    ]
    assert max(close) <= 1  # a larger call may round differently
    grid = Image.open(run / "a" / "grid.png")
    assert grid.size[0] > 4 * 16


def pixels(png: bytes) -> bytes:
    return Image.open(io.BytesIO(png)).convert("RGB").tobytes()


@pytest.mark.slow
def test_raw_weights_and_earlier_ones_differ_and_prompts_come_from_a_file(creatures_run, cli, tmp_path):
    run, _ = creatures_run
    (tmp_path / "prompts.txt").write_text("a red cat\n\na blue bird\n", encoding="utf-8")
    for name, choice in {
        "ema": ["--weights", "ema"],
        "raw": ["--weights", "raw"],
        "same": ["--checkpoint", 12],
        "earlier": ["--checkpoint", 9],
    }.items():
        result = cli("sample", run, "--prompts", "prompts.txt", "-n", 1, *choice, "--out", name)
        assert result.returncode == 0, result.stderr
    names = sorted(path.name for path in (tmp_path / "ema").iterdir())
    assert len(names) == 3
    ema, raw, same, earlier = (
        (tmp_path / folder / names[0]).read_bytes() for folder in ("ema", "raw", "same", "earlier")
    )
    assert ema == same
    assert len({ema, raw, earlier}) == 3
    missing = cli("sample", run, "a red cat", "--checkpoint", 7)
    assert missing.returncode == 2
    assert "there is no checkpoint of step 7" in missing.stderr
    assert "one of 9, 12" in missing.stderr


@pytest.mark.slow
def test_evaluate_prints_and_writes_the_numbers(creatures_run, cli, tmp_path):
    run, _ = creatures_run
    result = cli("evaluate", run, "-n", 32, "--json", "numbers.json")
    assert result.returncode == 0, result.stderr
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert numbers["measures"]["prompt-accuracy/colour"]["n"] == 32
    assert numbers["settings"]["step"] == 12
    for group in ("", "held-out-captions/", "unseen-pairs/", "shuffled/"):
        assert f"prompt-accuracy/{group}species" in result.stdout
    again = cli("evaluate", run, "-n", 32, "--json", "again.json")
    assert again.returncode == 0
    assert json.loads((tmp_path / "again.json").read_text())["measures"] == numbers["measures"]


@pytest.mark.slow
def test_a_model_opens_in_code_and_needs_no_loss_plugin(creatures_run):
    run, _ = creatures_run
    from t2ikit.sampling.images import sample_images

    model = open_run(run).model()
    images = sample_images(model, ["a green cat with red eyes"], samples=range(3), steps=2)
    assert images.shape == (3, 3, 16, 16)
    assert images.abs().max() <= 1


@pytest.mark.slow
def test_a_folder_of_images_trains_and_gives_its_captions_as_prompts(cli, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for i in range(24):
        Image.new("RGB", (40, 30), (10 * i, 255 - 10 * i, 90)).save(data / f"{i}.png")
        (data / f"{i}.txt").write_text(f"colour number {i}\n")
    result = cli(*TINY_CREATURES[:3], *TINY_CREATURES[3:], "--data", "data", "--out", "run")
    assert result.returncode == 2  # data.count belongs to creatures
    assert "data.count" in result.stderr
    words = [w for w in TINY_CREATURES if w != "data.count=64"]
    place = next(i for i, w in enumerate(words) if w == "--set" and words[i + 1] == "--set")
    del words[place]
    result = cli(*words, "--data", "data", "--out", "run")
    assert result.returncode == 0, result.stderr
    assert open_run(tmp_path / "run").table["data"]["spec"] == str(data)


@pytest.mark.slow
def test_trackers_record_what_the_log_holds(cli, tmp_path):
    names = ("tensorboard", "wandb", "trackio")
    pytest.importorskip("tensorboard")
    pytest.importorskip("wandb")
    pytest.importorskip("trackio")
    setting = f"train.trackers={json.dumps(names)}"
    env = {"HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "WANDB_MODE": "offline"}
    result = cli(*TOY, "--set", setting, "--out", "run", env=env)
    assert result.returncode == 0, result.stderr
    run = tmp_path / "run"
    logged = {
        line.pop("step"): {key: value for key, value in line.items() if value is not None}
        for line in read_log(run / "log.jsonl")
    }
    assert tensorboard_scalars(run) == {
        step: {key: pytest.approx(value, rel=1e-6) for key, value in scalars.items()}
        for step, scalars in logged.items()
    }
    (file,) = (run / "trackers").rglob("*.wandb")
    history = wandb_history(file)
    found = {step: {k: row[k] for k in logged[step]} for step, row in history.items() if step in logged}
    assert found == logged
    assert trackio_scalars(run) == logged
    grids = {int(path.stem.split("-")[1]) for path in (run / "samples").iterdir()}
    assert grids == {6, 12}
    assert grids == {step for step, row in history.items() if any(k.startswith("samples") for k in row)}


def tensorboard_scalars(run: Path) -> dict[int, dict[str, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "trackers" / "tensorboard"), size_guidance={"images": 0})
    events.Reload()
    assert {event.step for event in events.Images("samples")} == {6, 12}
    found: dict[int, dict[str, float]] = {}
    for tag in events.Tags()["scalars"]:
        for event in events.Scalars(tag):
            found.setdefault(event.step, {})[tag] = event.value
    return found


def trackio_scalars(run: Path) -> dict[int, dict[str, float]]:
    (file,) = (path for path in (run / "trackers").rglob("*.db"))
    with sqlite3.connect(file) as database:
        rows = [
            (step, json.loads(text)) for step, text in database.execute("SELECT step, metrics FROM metrics")
        ]
    found: dict[int, dict[str, float]] = {}
    for step, metrics in rows:
        scalars = {key: value for key, value in metrics.items() if isinstance(value, (int, float))}
        found.setdefault(step, {}).update(scalars)
    assert {step for step, metrics in rows if any(isinstance(v, dict) for v in metrics.values())} >= {6, 12}
    return {step: scalars for step, scalars in found.items() if scalars}


@pytest.mark.slow
def test_out_of_memory_prints_the_setting_that_fits_and_it_works(cli, tmp_path):
    (tmp_path / "greedy.py").write_text(FULL_MEMORY)
    words = [*TOY, "--plugin", "./greedy.py", "--set", "losses.greedy.weight=1"]
    result = cli(*words, "--out", "first")
    assert result.returncode == 0, result.stderr
    settings = re.findall(r"--set (train\.micro_batch=\d+)", " ".join(result.stderr.split()))
    assert settings[-1] == "train.micro_batch=2"
    result = cli(*words, "--set", settings[-1], "--out", "second")
    assert result.returncode == 0, result.stderr
    assert "out of memory" not in result.stderr
    last = "step-00000012"
    a, b = (tmp_path / name / "checkpoints" / last / "ema.safetensors" for name in ("first", "second"))
    assert a.exists()
    assert b.exists()


@pytest.mark.slow
def test_observers_are_told(cli, tmp_path):
    (tmp_path / "watch.py").write_text(
        "from t2ikit import hookimpl\n"
        "@hookimpl\n"
        "def t2ikit_step_end(run, step, scalars):\n"
        "    print('told', step, sorted(scalars)[0])\n"
        "@hookimpl\n"
        "def t2ikit_images(run, step, prompts, images):\n"
        "    print('shown', step, len(prompts), len(images), images[0].size)\n"
    )
    result = cli(*TOY, "--plugin", "./watch.py", "--out", "run", env={**os.environ})
    assert result.returncode == 0, result.stderr
    assert "told 5 data_wait" in result.stdout
    assert "shown 12 4 4 (16, 16)" in result.stdout
