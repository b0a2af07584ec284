"""t2ikit from Python: sample, evaluate, sweep, compare and export do what the commands do."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image
from test_resume import IMAGEN

import t2ikit
from t2ikit import UserError, open_run
from t2ikit.cli import main
from t2ikit.recipes.read import read_recipe
from t2ikit.recipes.settings import as_settings
from t2ikit.registry.registry import Registry
from t2ikit.sampling.outputs import check_output, make_output
from t2ikit.training.start import start_run

ROOT = Path(__file__).parents[2]
PROMPTS = ["a red cat", "a blue bird with green eyes"]
MEASURED = {"metrics": "colours", "n": 4, "device": "cpu"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    settings = [*IMAGEN, "train.steps=3"]
    chosen = read_recipe(Registry.load(), "imagen/default", settings=settings)
    return start_run(Registry.load(), chosen, tmp_path_factory.mktemp("runs") / "imagen", device="cpu")


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    return t2ikit.export(run, out=tmp_path_factory.mktemp("exports") / "my-model")


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def no_sampling(monkeypatch):
    for place in (
        "t2ikit.sampling.sample.sample_images",
        "t2ikit.evaluation.evaluator.sample_image_set",
        "t2ikit.evaluation.comparison.sample_images",
    ):
        monkeypatch.setattr(place, lambda *a, **k: pytest.fail("something was sampled"))


# ---------------------------------------------------------------- sample


def test_samples_are_the_command_s_files(run, tmp_path, capsys):
    words = [*PROMPTS, "-n", "2", "--guidance", "1", "--guidance", "4", "--steps", "3", "--seed", "5"]
    words += ["--set", "sampler.thresholding=static", "--sampler", "ddim", "--device", "cpu"]
    assert main(["sample", str(run.path), *words, "--out", str(tmp_path / "cli")]) == 0
    assert str(tmp_path / "cli" / "grid.png") in capsys.readouterr().out
    samples = t2ikit.sample(
        run.path,
        PROMPTS,
        n=2,
        guidance=[1, 4],
        steps=3,
        seed=5,
        set={"sampler.thresholding": "static"},
        sampler="ddim",
        device="cpu",
    )
    grid = samples.save(tmp_path / "python")
    assert grid == tmp_path / "python" / "grid.png"
    assert files_of(tmp_path / "cli") == files_of(tmp_path / "python")
    assert len(files_of(tmp_path / "cli")) == 2 * 2 * 2 + 1
    name = "001-a-blue-bird-with-green-eyes-g4-s5-1.png"
    with Image.open(tmp_path / "cli" / name) as image:
        assert image.tobytes() == samples.pil()[-1].tobytes()


def test_samples_know_what_they_are(run):
    told: list[tuple[int, int]] = []
    progress = lambda done, total: told.append((done, total))  # noqa: E731
    samples = t2ikit.sample(run, PROMPTS, n=3, guidance=(1.0, 2.0), seed=7, progress=progress)
    assert samples.images.shape == (2, 2, 3, 3, 16, 16)
    assert samples.images.abs().max() <= 1
    assert samples.images.isfinite().all()
    assert len(samples) == len(samples.pil()) == 12
    assert (samples.prompts, samples.guidance, samples.seed) == (tuple(PROMPTS), (1.0, 2.0), 7)
    assert samples.function_evaluations == (2 * 1 + 2 * 2) / 2  # two steps, with two branches at guidance 2
    assert samples.seconds > 0
    assert samples.run.path == run.path
    assert told[-1] == (4, 4)
    assert "tensor" not in repr(samples)
    alone = t2ikit.sample(run, PROMPTS[1], n=3, guidance=2.0, seed=7, progress=False)
    torch.testing.assert_close(alone.images[0, 0], samples.images[1, 1], atol=1e-3, rtol=1e-3)
    other = t2ikit.sample(run, PROMPTS[1], n=3, guidance=2.0, seed=8)
    assert not torch.equal(other.images, alone.images)


def test_settings_are_a_mapping_or_strings(run):
    forms = (
        {"sampler.thresholding": "none", "sampler.guidance_interval": (0.25, 0.75)},
        {"sampler": {"thresholding": "none", "guidance_interval": [0.25, 0.75]}},
        ["sampler.thresholding=none", "sampler.guidance_interval=[0.25, 0.75]"],
    )
    images = [t2ikit.sample(run, "a red cat", n=1, set=form).images for form in forms]
    assert torch.equal(images[0], images[1])
    assert torch.equal(images[0], images[2])
    assert not torch.equal(images[0], t2ikit.sample(run, "a red cat", n=1).images)


def test_files_are_numbered_in_the_run(run, tmp_path):
    copied = open_run(shutil.copytree(run.path, tmp_path / "run", ignore=shutil.ignore_patterns("outputs")))
    samples = t2ikit.sample(copied, "a red cat", n=1)
    assert samples.save() == tmp_path / "run" / "outputs" / "001" / "grid.png"
    out = tmp_path / "several"
    assert samples.save(out) == samples.save(out) == out / "grid.png"  # the same pixels
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert replace(samples, images=-samples.images).save(out) == out / "grid-002.png"
    assert {name: (out / name).read_bytes() for name in before} == before
    assert len(list(out.iterdir())) == 2 * len(before)
    assert samples.save() == tmp_path / "run" / "outputs" / "002" / "grid.png"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"prompts": []}, "prompts"),
        ({"prompts": [3]}, "prompts"),
        ({"n": 0}, "n: "),
        ({"guidance": float("nan")}, "guidance"),
        ({"guidance": [1.0, -1]}, "guidance"),
        ({"steps": 5000}, "steps"),
        ({"set": {"train.steps": 3}}, "only the sampler"),
        ({"set": {"sampler.nothing": 3}}, "sampler.nothing"),
        ({"upscale": ["RUN"]}, "cannot upscale"),
        ({"checkpoint": 999}, "999"),
        ({"run": "nowhere"}, "not a run folder"),
    ],
)
def test_what_cannot_be_sampled_is_refused_before_anything_is(run, monkeypatch, options, words):
    no_sampling(monkeypatch)
    options = {"run": run, "prompts": "a cat", **options}
    if "upscale" in options:
        options["upscale"] = [run]
    with pytest.raises(UserError, match=words):
        t2ikit.sample(options.pop("run"), options.pop("prompts"), **options)


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_sampled(
    run, tmp_path, monkeypatch, capsys
):
    no_sampling(monkeypatch)
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "images"
    assert main(["sample", str(run.path), "a cat", "--out", str(out)]) == 2
    assert f"--out {out}: the folder cannot be made" in capsys.readouterr().err


def test_a_folder_is_tried_and_not_left_behind(run, tmp_path):
    check_output(run, tmp_path / "deep" / "er")
    assert not (tmp_path / "deep").exists()
    (tmp_path / "there").mkdir()
    check_output(run, tmp_path / "there" / "new")
    assert list((tmp_path / "there").iterdir()) == []


def test_two_that_sample_at_once_get_a_folder_each(run):
    check_output(run)
    check_output(run)
    first, second = make_output(run), make_output(run)
    assert first != second
    assert first.is_dir()
    assert second.is_dir()
    for folder in (first, second):
        folder.rmdir()


@pytest.mark.parametrize("weights", ["EMA", "last", ""])
def test_weights_of_no_kind_are_refused(run, weights):
    with pytest.raises(UserError, match="no such weights"):
        t2ikit.sample(run, "a cat", weights=weights)


def test_a_guidance_that_is_text_is_refused(run):
    with pytest.raises(UserError, match="guidance: this is not what it takes"):
        t2ikit.sample(run, "a cat", guidance="high")


# ---------------------------------------------------------------- images that are not finite


@pytest.fixture
def broken(monkeypatch):
    """Whatever a U-Net predicts for the second prompt of a call is infinite."""
    from t2ikit_imagen import ImagenDenoiser

    denoise = ImagenDenoiser.denoise

    def infinite(self, x, t, condition, previous=None):
        output = denoise(self, x, t, condition, previous).clone()
        output[1::2, 0, 0, :4] = float("inf")
        return output

    monkeypatch.setattr(ImagenDenoiser, "denoise", infinite)


def test_images_that_are_not_finite_are_refused_wherever_they_are_sampled(
    run, exported, broken, tmp_path, capsys
):
    from t2ikit_imagen.pipeline import ImagenPipeline

    told = r"1 of 2 images hold values that are not finite(.|\n)*'a blue bird with green eyes': \d+ of 768"
    with pytest.raises(UserError, match=told) as error:
        t2ikit.sample(run, PROMPTS, n=1, guidance=1)
    assert all(word in error.value.fix for word in ("damaged", "diverged", "fp16", "--checkpoint"))
    pipeline = ImagenPipeline.from_pretrained(exported)
    with pytest.raises(UserError, match=told):
        pipeline(PROMPTS, guidance_scale=1.0)
    with pytest.raises(UserError, match="2 of 4 images hold values that are not finite"):
        t2ikit.evaluate(run, guidance=1, write=False, **MEASURED)
    words = ["sample", str(run.path), *PROMPTS, "-n", "1", "--guidance", "1", "--out", str(tmp_path / "out")]
    capsys.readouterr()
    assert main(words) == 2
    assert "1 of 2 images hold values that are not finite" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_grid_of_training_that_is_not_finite_is_a_warning(broken, tmp_path, capsys):
    settings = [*IMAGEN, "train.steps=2", "train.sample_every=1", "sampler.guidance=1"]
    chosen = read_recipe(Registry.load(), "imagen/default", settings=settings)
    outcome = start_run(Registry.load(), chosen, tmp_path / "run", device="cpu")
    assert outcome.finished
    assert "images hold values that are not finite" in capsys.readouterr().err
    assert list((tmp_path / "run" / "samples").iterdir()) == []


# ---------------------------------------------------------------- evaluate, sweep, compare


def test_an_evaluation_is_the_command_s(run, tmp_path, capsys):
    settings = {"sampler.thresholding": "static"}
    found = t2ikit.evaluate(run, set=settings, guidance=2.0, seed=3, **MEASURED)
    assert found.folder.parent == run.path / "evaluations"
    assert json.loads((found.folder / "evaluation.json").read_text())["measures"]
    assert str(found.folder) in found.text()
    words = ["--metrics", "colours", "-n", "4", "--device", "cpu", "--guidance", "2", "--seed", "3"]
    words += ["--set", "sampler.thresholding=static", "--json", str(tmp_path / "numbers.json")]
    assert main(["evaluate", str(run.path), *words]) == 0
    table = json.loads((tmp_path / "numbers.json").read_text())
    assert table["measures"] == json.loads(json.dumps(found.table()["measures"]))
    assert table["settings"] == json.loads(json.dumps(found.settings))
    assert "colours/saturation" in capsys.readouterr().out
    assert found.measures["colours/saturation"].n == 4


def test_an_evaluation_may_leave_nothing_behind(run, tmp_path):
    folder = shutil.copytree(run.path, tmp_path / "run", ignore=shutil.ignore_patterns("evaluations"))
    before = files_of(folder)
    found = t2ikit.evaluate(folder, write=False, metrics=["colours"], n=4, device="cpu")
    assert found.folder is None
    assert found.image_set.images.shape == (4, 3, 16, 16)
    assert files_of(folder) == before


def test_a_sweep_is_the_command_s(run, capsys):
    axes = {"guidance": [1, 2.5], "sampler.thresholding": ("none", "static")}
    found = t2ikit.sweep(run, axes, **MEASURED)
    assert found.axes == {"guidance": ["1", "2.5"], "thresholding": ["none", "static"]}
    assert [point["guidance"] for point in found.points] == ["1", "1", "2.5", "2.5"]
    assert found.evaluations[3].settings["guidance"] == 2.5
    with Image.open(found.grid) as grid:
        assert grid.width > 4 * 16
    words = ["--metrics", "colours", "-n", "4", "--device", "cpu"]
    words += ["--sweep", "guidance=1,2.5", "--sweep", "thresholding=none,static"]
    assert main(["evaluate", str(run.path), *words]) == 0
    shown = capsys.readouterr().out
    assert "4 of 4 were measured before" in shown
    assert str(found.grid) in shown
    assert t2ikit.sweep(run, ["guidance=1,2.5"], **MEASURED).kept == 0  # the recipe's thresholding


@pytest.mark.parametrize(
    "axes", [{}, [], {"guidance": []}, {"guidance": 3}, {"guidance": [1, 1]}, {"guidance": range(1, 300)}]
)
def test_axes_that_are_none_are_refused(run, monkeypatch, axes):
    no_sampling(monkeypatch)
    with pytest.raises(UserError, match="sweep"):
        t2ikit.sweep(run, axes, **MEASURED)


@pytest.mark.parametrize(
    "options", [{"n": 0}, {"metrics": ""}, {"metrics": "nothing"}, {"set": {"data.a": 1}}]
)
def test_what_cannot_be_measured_is_refused(run, monkeypatch, options):
    no_sampling(monkeypatch)
    for measure in (t2ikit.evaluate, partial(t2ikit.sweep, axes={"guidance": [1, 2]})):
        with pytest.raises(UserError):
            measure(run, **{**MEASURED, **options})


def test_a_comparison_is_a_page(run, tmp_path):
    other = open_run(shutil.copytree(run.path, tmp_path / "other"))
    report = t2ikit.compare([run, other], out=tmp_path / "report.html", prompts="a cat", **MEASURED)
    assert (tmp_path / "report.html").read_text() == report.html
    assert [one.name for one in report.comparison.runs] == ["imagen", "other"]
    assert report.save(tmp_path / "again.html").read_text() == report.html
    assert "a cat" in report.html


def test_a_page_that_cannot_be_written_is_refused_first(run, tmp_path, monkeypatch):
    no_sampling(monkeypatch)
    with pytest.raises(UserError, match="cannot be written"):
        t2ikit.compare([run, run.path], out=tmp_path / "gone" / "report.html", **MEASURED)


def test_one_run_is_nothing_to_compare(run):
    for runs in (run, str(run.path), [run], []):
        with pytest.raises(UserError, match="nothing to compare"):
            t2ikit.compare(runs, **MEASURED)


# ---------------------------------------------------------------- docs and example


def test_the_page_about_python_runs_from_top_to_bottom(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train = t2ikit.train

    def smaller(*plugin, set, **options):
        small = ["train.steps=3"] if "resume" in options else [*as_settings(set), *IMAGEN, "train.steps=2"]
        return train(*plugin, set=small, device="cpu", progress=False, **options)

    monkeypatch.setattr(t2ikit, "train", smaller)
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    names: dict[str, object] = {}
    for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(code, names)
    assert len(names["losses"]) == 1
    assert list(names["recorder"].losses) == [3]
    assert names["samples"].images.shape == (1, 1, 4, 3, 16, 16)
    assert names["report"].html == (tmp_path / "report.html").read_text()
    assert names["image"].size == (16, 16)
    assert (tmp_path / "cats" / "grid.png").is_file()


def test_ten_lines_train_sample_evaluate_and_plot(tmp_path, monkeypatch):
    script = ROOT / "examples" / "ten_lines.py"
    lines = script.read_text().split('"""')[2].splitlines()
    statements = [line for line in lines if line and not line.startswith(("import", "from"))]
    assert len(statements) == 10
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(script), *IMAGEN, "train.steps=4", "train.log_every=2"])
    runpy.run_path(str(script))
    run = tmp_path / "runs" / "imagen-001"
    with Image.open(run / "ten_lines.png") as plot:
        assert len(plot.convert("RGB").getcolors(1 << 24)) > 50
    assert list(run.glob("evaluations/*/evaluation.json"))


# ---------------------------------------------------------------- exports


def test_nothing_is_written_into_an_export(run, exported, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    before = files_of(exported)
    assert main(["sample", str(exported), "a cat", "-n", "1", "--device", "cpu"]) == 0
    assert main(["sample", str(exported), "a cat", "-n", "1", "--device", "cpu"]) == 0
    assert str(Path("outputs") / "002" / "grid.png") in capsys.readouterr().out
    assert len(files_of(tmp_path / "outputs" / "001")) == 2
    found = t2ikit.evaluate(exported, **MEASURED)
    swept = t2ikit.sweep(exported, {"guidance": [1, 2]}, **MEASURED)
    for path in (found.folder, swept.grid):
        assert path.parts[0] == "outputs"
        assert path.parts[1].startswith("my-model-")
        assert path.exists()
    t2ikit.compare([exported, run], out="report.html", prompts=["a cat"], **MEASURED)
    assert files_of(exported) == before


def test_evaluations_of_exports_of_one_name_are_kept_apart(run, exported, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = [*IMAGEN, "train.steps=3", "train.seed=1"]
    chosen = read_recipe(Registry.load(), "imagen/default", settings=settings)
    start_run(Registry.load(), chosen, tmp_path / "run", device="cpu")
    other = t2ikit.export("run", out=tmp_path / "elsewhere" / "my-model")
    folders = [t2ikit.evaluate(path, **MEASURED).folder for path in (exported, other)]
    assert folders[0].parts[1] != folders[1].parts[1]


def test_an_export_is_made_of_a_run_or_its_folder(run, exported, tmp_path):
    again = t2ikit.export(str(run.path), "diffusers", out=str(tmp_path / "again"))
    assert again == tmp_path / "again"
    same = [path for path in files_of(exported) if path.endswith((".safetensors", ".json"))]
    assert [files_of(again)[path] for path in same] == [files_of(exported)[path] for path in same]
