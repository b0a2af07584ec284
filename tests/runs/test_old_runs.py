"""What version 0021184 wrote is sampled, evaluated, exported and resumed, with the numbers of that version.

Another CPU or torch rounds otherwise, so numbers may differ by TOLERANCE (relative) and images by LEVELS.
"""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import t2ikit
from t2ikit.cli import main
from t2ikit_imagen.pipeline import ImagenPipeline

OLD = Path(__file__).parents[1] / "fixtures" / "0021184"
EXPECTED = json.loads((OLD / "expected.json").read_text())
PIXELS = ((2, 3), (8, 8), (13, 5))
PROMPT = "a red cat"
TOLERANCE, LEVELS = 1e-3, 2
STEPS = {"imagen": 8, "gigagan": 6}
RUNS = pytest.mark.parametrize("name", STEPS)


@pytest.fixture
def copied(tmp_path):
    """Copies a fixture, so that what is written stays out of the checkout."""
    return lambda name: Path(shutil.copytree(OLD / name, tmp_path / name))


@pytest.fixture
def silent(recwarn):
    """Nothing is said of old keys or old imports where an old folder is merely opened."""
    yield
    told = [str(one.message) for one in recwarn if " is now " in str(one.message)]
    assert told == []


def check_image(image: Image.Image, name: str) -> None:
    levels, expected = np.array(image.convert("RGB")).astype(float), EXPECTED[name]["image"]
    assert levels.shape == (16, 16, 3)
    assert levels.mean() == pytest.approx(expected["mean"], abs=LEVELS / 4)
    found = [levels[y, x] for y, x in PIXELS]
    assert np.abs(np.array(found) - np.array(expected["pixels"])).max() <= LEVELS


@RUNS
def test_an_old_run_is_sampled(name, copied, silent):
    check_image(t2ikit.sample(copied(name), PROMPT, n=1, device="cpu").pil()[0], name)


@RUNS
def test_an_old_run_is_evaluated(name, copied, silent):
    result = t2ikit.evaluate(copied(name), metrics=["colours"], n=8, device="cpu")
    found = {key: measure.value for key, measure in result.measures.items()}
    assert found == pytest.approx(EXPECTED[name]["measures"], rel=TOLERANCE, abs=0.5)


@RUNS
def test_an_old_run_goes_on(name, copied, silent):
    run = t2ikit.train(resume=copied(name), set={"train.steps": STEPS[name]}, device="cpu")
    for line, expected in zip(run.log()[-2:], EXPECTED[name]["resumed"], strict=True):
        assert {key: line[key] for key in expected} == pytest.approx(expected, rel=TOLERANCE)
    assert "keep_last = 1" in (run.path / "recipe.toml").read_text()
    assert [entry["changes"].keys() for entry in run.info["history"]] == [{"train.steps"}]


@RUNS
def test_an_old_run_is_exported(name, copied, tmp_path, silent):
    t2ikit.export(copied(name), "diffusers", out=tmp_path / "new")
    index = json.loads((tmp_path / "new" / "model_index.json").read_text())
    assert index["generator"] == ["t2ikit.pipeline", "GeneratorModel"]
    check_image(t2ikit.sample(tmp_path / "new", PROMPT, n=1, device="cpu").pil()[0], name)


def test_an_export_is_written_as_before(copied, tmp_path, silent):
    t2ikit.export(copied("imagen"), "diffusers", out=tmp_path / "new")
    new, old = (folder / "generator" for folder in (tmp_path / "new", OLD / "exported"))
    weights = "diffusion_pytorch_model.safetensors"
    assert (new / weights).read_bytes() == (old / weights).read_bytes()
    configs = [json.loads((folder / "config.json").read_text()) for folder in (new, old)]
    assert {**configs[0], "_diffusers_version": ""} == {**configs[1], "_diffusers_version": ""}


def test_an_old_export_opens_in_t2ikit_and_in_diffusers(copied, silent):
    folder = copied("exported")
    check_image(t2ikit.sample(folder, PROMPT, n=1, device="cpu").pil()[0], "imagen")
    check_image(ImagenPipeline.from_pretrained(folder)(PROMPT, seed=0).images[0], "imagen")


def test_an_old_recipe_trains_with_a_line_for_each_old_key(tmp_path, capsys):
    words = ["--recipe", str(OLD / "old-keys.toml"), "--out", str(tmp_path / "run"), "--set", "train.steps=1"]
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert main(["train", "--plugin", "imagen", "--device", "cpu", *words]) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if " is now " in line]
    new = ("num_workers", "validation_images", "keep_last", "warmup_steps", "max_grad_norm")
    assert len(told) == len(new)
    assert all(sum(f".{key};" in line for line in told) == 1 for key in new)
