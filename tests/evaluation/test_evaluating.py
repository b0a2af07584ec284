"""Whole evaluations and sweeps: what is measured, written, reused, and told where something is wrong."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from test_resume import IMAGEN

from clip_support import clip_folder
from t2ikit import Measure, UserError, open_run
from t2ikit.cli import main
from t2ikit.data.configs import CreaturesConfig
from t2ikit.data.creatures.dataset import Creatures
from t2ikit.evaluation.comparison import compare_runs
from t2ikit.evaluation.evaluator import Evaluator, measure_run
from t2ikit.evaluation.files import measure_into
from t2ikit.evaluation.images import training_images
from t2ikit.evaluation.results import EvaluationOptions
from t2ikit.evaluation.sweeps import measure_and_write, read_axes, run_sweep, sweep_and_write, write_sweep
from t2ikit.metrics.intervals import FEWEST
from t2ikit.metrics.selection import select_metrics
from t2ikit.recipes.read import read_recipe
from t2ikit.registry.registry import Registry
from t2ikit.runs import checkpoint as ckpt
from t2ikit.sampling.open import open_model
from t2ikit.training.start import start_run
from t2ikit.utils.files import save_image

CREATURES = Creatures(CreaturesConfig(spec="creatures", count=60, size=32))


@pytest.fixture(autouse=True)
def few_training_images(monkeypatch):
    """As thousands of creatures take a second to draw."""
    monkeypatch.setattr("t2ikit.evaluation.images.MOST_TRAINING", 64)


@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory):
    """Two steps of the imagen plugin on creatures, drawn in two steps."""
    out = tmp_path_factory.mktemp("tiny") / "run"
    settings = [*IMAGEN, "train.steps=2"]
    registry = Registry.load()
    start_run(registry, read_recipe(registry, "imagen/default", settings=settings), out, device="cpu")
    return out


def test_a_file_plugin_adds_a_metric_and_its_options(tmp_path, tiny_run):
    (tmp_path / "mine.py").write_text(
        "from t2ikit import Config, Measure, MetricSpec, hookimpl\n"
        "class C(Config):\n    scale: float = 1.0\n"
        "@hookimpl\n"
        "def t2ikit_metrics():\n"
        "    def build(config, context):\n"
        "        return lambda d: {'mean': Measure(config.scale * float(d.images.mean()), len(d.images))}\n"
        "    return [MetricSpec('mean', build, C)]\n"
    )
    plugins = [str(tmp_path / "mine.py")]
    values = [
        measure_run(
            tiny_run, EvaluationOptions(n=4, metrics=["mean"], settings=settings), plugins=plugins
        ).measures
        for settings in ([], ["metrics.mean.scale=2"])
    ]
    one, two = (found["mean/mean"] for found in values)
    assert isinstance(one, Measure)
    assert two.value == pytest.approx(2 * one.value)


def test_what_is_written_is_what_was_measured(tiny_run):
    question = EvaluationOptions(
        n=6, metrics=["colours", "neighbours", "lpips"], repeated_prompts=2, images_per_prompt=2
    )
    evaluation = measure_into(Evaluator(tiny_run, question))
    folder = evaluation.folder
    again = measure_run(tiny_run, question)
    assert again.measures == evaluation.measures  # to the bit
    assert torch.equal(again.image_set.images, evaluation.image_set.images)
    files = sorted((folder / "drawn").glob("*.png"))
    assert len(files) == 6
    shown = torch.stack([torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1) for file in files])
    assert torch.equal(shown.float() / 127.5 - 1, evaluation.image_set.images)
    assert len(list((folder / "again").iterdir())) == 4
    assert len(list((folder / "real").iterdir())) == 6
    assert len((folder / "prompts.jsonl").read_text().splitlines()) == 6
    table = json.loads((folder / "evaluation.json").read_text())
    assert table["measures"]["colours/saturation"]["value"] == evaluation.measures["colours/saturation"].value
    assert table["costs"]["pictures"] == 10
    assert table["costs"]["calls"] == 2 * 2  # two steps, with guidance
    assert table["costs"]["device"] == "cpu"
    assert table["costs"]["threads"] == torch.get_num_threads()
    assert table["costs"]["processor"]
    assert (folder / "neighbours.png").is_file()
    other = measure_run(
        tiny_run, EvaluationOptions(n=6, metrics=["colours"], seed=1, repeated_prompts=2, images_per_prompt=2)
    )
    assert other.name != evaluation.name


def test_an_earlier_checkpoint_is_measured_alone(tiny_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    newest = ckpt.load_latest(run)[0]
    for tensor in newest.tensors["ema"].values():
        tensor.mul_(0.5)
    ckpt.save(run, replace(newest, step=1))
    question = EvaluationOptions(n=4, metrics=["colours"], repeated_prompts=0)
    found = {step: measure_run(run, replace(question, checkpoint=step)) for step in (None, 1, 2)}
    assert found[1].settings["step"] == 1
    assert torch.equal(found[2].image_set.images, found[None].image_set.images)
    assert not torch.equal(found[1].image_set.images, found[None].image_set.images)


# ---------------------------------------------------------------- sweeps


def test_a_sweep_goes_over_samplers_too(tiny_run):
    """As `--sampler` does: what the recipe says stays, but for the steps and what the other does not know."""
    question = EvaluationOptions(n=4, metrics=["colours"], repeated_prompts=0)
    evaluator = Evaluator(tiny_run, question)
    found = run_sweep(evaluator, read_axes(["sampler.use=ddim,euler", "steps=2"])).evaluations
    for name, evaluation in zip(("ddim", "euler"), found):
        alone = measure_run(tiny_run, replace(question, sampler=name, settings=["sampler.steps=2"]))
        assert evaluation.settings["sampler"] == alone.settings["sampler"]
        assert evaluation.settings["sampler"]["use"] == f"imagen/{name}"
        assert evaluation.measures == alone.measures


def test_a_sweep_over_samplers_keeps_what_is_asked_for_all(tiny_run):
    settings = ["sampler.steps=3", "sampler.guidance=2", "sampler.use=ddim"]
    evaluator = Evaluator(tiny_run, EvaluationOptions(n=2, metrics=["colours"], settings=settings))
    own = evaluator.run.table["sampler"]
    for name in ("ddim", "euler", "dpm++"):
        point = evaluator.sampling_model({"use": name}).recipe.parts["sampler"]
        assert point.entry.canonical == f"imagen/{name}"
        assert (point.config.steps, point.config.guidance) == (3, 2)
    only = Evaluator(tiny_run, EvaluationOptions(n=2, metrics=["colours"], settings=["sampler.order=1"]))
    points = {name: only.sampling_model({"use": name}).recipe.parts["sampler"] for name in ("dpm++", "ddim")}
    assert points["dpm++"].config.order == 1
    assert "order" not in points["ddim"].table()
    with pytest.raises(UserError, match="order"):  # what a point itself says is not left out
        only.sampling_model({"use": "ddim", "order": "1"})
    changed = evaluator.sampling_model({"guidance": "4"}).recipe.parts["sampler"]
    assert (changed.entry.canonical, changed.config.guidance) == ("imagen/ddim", 4)
    other = Evaluator(tiny_run, EvaluationOptions(n=2, metrics=["colours"], sampler="euler"))
    back = other.sampling_model({"use": own["use"]}).recipe.parts["sampler"]
    assert back.table() == open_model(other.run).recipe.parts["sampler"].table()


def test_a_sweep_measures_every_combination_as_one_evaluation_would(tiny_run):
    axes = read_axes(["guidance=0.5,3", "sampler.thresholding=none,dynamic"])
    question = EvaluationOptions(n=4, metrics=["colours"], repeated_prompts=0)
    sweep = run_sweep(Evaluator(tiny_run, question), axes)
    assert sweep.points[1] == {"guidance": "0.5", "thresholding": "dynamic"}
    assert len(sweep.evaluations) == 4
    settings = ["sampler.guidance=3", "sampler.thresholding=none"]
    alone = measure_run(
        tiny_run, EvaluationOptions(n=4, metrics=["colours"], repeated_prompts=0, settings=settings)
    )
    assert alone.measures == sweep.evaluations[2].measures
    assert torch.equal(alone.image_set.images[:3], sweep.evaluations[2].image_set.images)  # those of the grid
    assert sweep.evaluations[0].settings["guidance"] == 0.5
    lines = [line.split() for line in sweep.text().splitlines()]
    assert lines[0] == ["guidance", "0.5", "0.5", "3", "3"]
    assert lines[1] == ["thresholding", "none", "dynamic", "none", "dynamic"]
    assert lines[2][0] == "colours/saturation"
    path = write_sweep(sweep, open_run(tiny_run)).grid
    assert Image.open(path).size[0] > 4 * 32
    table = json.loads(path.with_suffix(".json").read_text())
    assert [point["at"] for point in table["points"]] == sweep.points


@pytest.mark.parametrize("given", ["guidance", "guidance=", "=1,2", "guidance=1,1", "steps=1,2,1"])
def test_a_sweep_that_is_no_list(given):
    with pytest.raises(UserError, match="no list of values"):
        read_axes([given])


def test_a_sweep_of_lists_and_of_a_value_that_is_none():
    assert read_axes(["guidance_interval=[0,0.8],[0.3,1]"]) == {"guidance_interval": ["[0,0.8]", "[0.3,1]"]}
    with pytest.raises(UserError, match="no list of values"):
        read_axes({"guidance": 3})


def test_a_sweep_of_too_many_combinations():
    most = ["steps=" + ",".join(map(str, range(1, 101))), "guidance=1,2"]
    assert len(read_axes(most)) == 2
    with pytest.raises(UserError, match="300 combinations are too many"):
        read_axes([most[0], "guidance=1,2,3"])


def test_a_sweep_is_refused_before_anything_is_drawn(tiny_run, monkeypatch):
    monkeypatch.setattr(
        "t2ikit.evaluation.evaluator.sample_image_set", lambda *a: pytest.fail("it was drawn")
    )
    evaluator = Evaluator(tiny_run, EvaluationOptions(n=4, metrics=["colours"]))
    for given in ("guidance=1,-1", "colour=red", "thresholding=none,some", "steps=5,x"):
        with pytest.raises(UserError):
            run_sweep(evaluator, read_axes([given]))


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_drawn(tiny_run, tmp_path, monkeypatch):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run, ignore=shutil.ignore_patterns("evaluations"))
    (run / "evaluations").write_text("a file in the way")
    monkeypatch.setattr(
        "t2ikit.evaluation.evaluator.sample_image_set", lambda *a: pytest.fail("it was drawn")
    )
    evaluator = Evaluator(run, EvaluationOptions(n=4, metrics=["colours"]))
    for measure in (measure_and_write, partial(sweep_and_write, axes={"steps": ["1", "2"]})):
        with pytest.raises(UserError, match="cannot be written"):
            measure(evaluator)


def test_large_training_images_are_fewer(monkeypatch):
    monkeypatch.setattr("t2ikit.evaluation.images.MOST_VALUES", 10 * 3 * 32 * 32)
    assert len(training_images(CREATURES)) == 10


# ---------------------------------------------------------------- prompts


@pytest.fixture
def few(tmp_path):
    """A folder of images with few different captions."""
    folder = tmp_path / "few"
    for number in range(40):
        colour = (6 * number, 255 - 6 * number, 90)
        save_image(Image.new("RGB", (32, 32), colour), folder / f"{number:02d}.png")
        (folder / f"{number:02d}.txt").write_text(f"a red square {number % 15}")
    return folder


def test_a_caption_that_would_come_again_counts_once(tiny_run, few):
    evaluator = Evaluator(tiny_run, EvaluationOptions(data=str(few), n=256, metrics=["colours"]))
    captions = set(evaluator.dataset.prompts(256, 0))
    assert 1 < len(captions) < 16
    found = evaluator.measure()
    assert len(found.image_set.images) == len(captions)
    assert found.settings["n"] == found.measures["colours/saturation"].n == len(captions)
    assert len({image.numpy().tobytes() for image in found.image_set.images}) == len(captions)
    assert f"only {len(captions)} different captions; -n 256 asked" in found.notes
    assert f"note: only {len(captions)} different captions; -n 256 asked" in found.text()
    asked = Evaluator(tiny_run, EvaluationOptions(data=str(few), n=len(captions), metrics=["colours"]))
    assert asked.settings() == found.settings


def test_creatures_that_repeat_are_drawn_once_in_their_order(tiny_run):
    evaluator = Evaluator(tiny_run, EvaluationOptions(n=3000, metrics=["colours"]))
    asked = evaluator.dataset.prompts(3000, 0)
    assert evaluator.prompts == sorted(set(asked), key=asked.index)
    assert len(evaluator.prompts) < 3000


def test_few_images_are_told_once_whatever_is_measured(tiny_run):
    found = measure_run(tiny_run, EvaluationOptions(n=4, metrics=["colours", "neighbours"]))
    assert found.text().count("4 images are too few") == 1
    assert not measure_run(tiny_run, EvaluationOptions(n=100, steps=1, metrics=["colours"])).notes


@pytest.mark.parametrize(
    ("n", "told"), [(1, "1 image is too few"), (2, "2 images are too few"), (5, "5 images are few")]
)
def test_one_or_two_images_are_measured_without_distances_and_intervals_and_it_is_said(tiny_run, n, told):
    """Every metric that a plain installation has."""
    found = measure_run(tiny_run, EvaluationOptions(n=n, images_per_prompt=2))
    assert found.text().count(told) == 1
    assert not found.failed
    enough = n >= FEWEST
    assert ("reader-distance/fd-reader" in found.measures) == enough
    assert (found.not_measured.get("reader-distance") == f"needs at least 5 images, got {n}") != enough
    means = ("colours/saturation", "neighbours/distance", "reader-diversity/per-prompt")
    assert all((found.measures[name].low is None) != enough for name in means)
    assert found.measures["prompt-accuracy/joint"].low is not None  # Wilson's holds for any number
    assert len(set(found.image_set.prompts)) == len(found.image_set.images) == n


@pytest.fixture(scope="module")
def no_held_out(tmp_path_factory):
    """A run on three images of two captions, none held out, and the rows of its last grid."""
    folder = tmp_path_factory.mktemp("three")
    for number in range(3):
        save_image(Image.new("RGB", (32, 32), (80 * number, 90, 90)), folder / "data" / f"{number}.png")
        (folder / "data" / f"{number}.txt").write_text(f"a square {number % 2}")
    shared = [setting for setting in IMAGEN if not setting.startswith("data.count")]
    registry = Registry.load()
    data = ["data.validation=0", f"data.cache={folder}/cache"]
    settings = [*shared, "train.steps=2", "train.batch=2", "sampler.steps=1", *data]
    recipe = read_recipe(registry, "imagen/default", data=str(folder / "data"), settings=settings)
    grids = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "t2ikit.training.sample_grids.labelled_grid", lambda rows, names, _: grids.append(names) or BLANK
        )
        start_run(registry, recipe, folder / "run", device="cpu")
    return folder / "run", grids[-1]


BLANK = Image.new("RGB", (8, 8))


def test_few_captions_are_rows_once_in_every_grid(no_held_out, tmp_path, monkeypatch):
    run, trained = no_held_out
    both, rows = ["a square 0", "a square 1"], []
    assert sorted(trained) == both
    monkeypatch.setattr(
        "t2ikit.evaluation.sweeps.labelled_grid", lambda _, names, __: rows.append(names) or BLANK
    )
    monkeypatch.setattr("t2ikit.evaluation.comparison.SCALES", (1.0,))
    options = EvaluationOptions(n=9, metrics=["colours"])
    write_sweep(run_sweep(Evaluator(run, options), read_axes(["guidance=1,3"])), open_run(run))
    assert [sorted(each) for each in rows] == [both]
    other = shutil.copytree(run, tmp_path / "other")
    assert sorted(compare_runs([run, other], options).prompts) == both
    assert compare_runs([run, other], options, ["a cat", "a cat"]).prompts == ["a cat"]


def test_a_run_without_held_out_captions_says_whose_captions_it_is_measured_on(no_held_out, capsys):
    assert main(["evaluate", str(no_held_out[0]), "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert out.count("note: the prompts are captions of training images: this run held none out") == 1
    assert out.count("note: only 2 different captions; -n 256 asked") == 1
    assert out.count("2 images are too few") == 1
    assert "neighbours/nearer" not in out  # real images that were trained on are no yardstick
    assert "the real images are in the training data" in out


# ---------------------------------------------------------------- other data


def test_neighbours_are_those_the_run_was_trained_on_whatever_the_prompts(tiny_run, few):
    question = EvaluationOptions(data=str(few), n=4, metrics=["neighbours"])
    train = measure_run(tiny_run, question).image_set.train
    own = Evaluator(tiny_run, EvaluationOptions()).dataset
    assert torch.equal(train[0], own.record("train", 0).image.float() / 127.5 - 1)


def test_training_data_that_is_gone_is_told(tiny_run, few, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    recipe = (run / "recipe.toml").read_text()
    (run / "recipe.toml").write_text(recipe.replace('spec = "creatures"', 'spec = "/no/such/folder"'))
    found = measure_run(run, EvaluationOptions(data=str(few), n=4, metrics=["neighbours", "colours"]))
    assert "the run's own training images" in found.not_measured["neighbours"]
    assert "colours/saturation" in found.measures
    assert any("the run's own data cannot be opened" in note for note in found.notes)


# ---------------------------------------------------------------- metrics that fail

BROKEN = """
from t2ikit import Measure, MetricSpec, NotMeasured, UserError, hookimpl

def divide(drawn):
    return {"x": Measure(1 / 0, 1)}

def build_badly(config, context):
    raise KeyError("no such layer")

@hookimpl
def t2ikit_metrics():
    return [
        MetricSpec("divides", lambda config, context: divide),
        MetricSpec("unbuilt", build_badly),
        MetricSpec("numbers", lambda config, context: lambda drawn: {"x": 3.0}),
        MetricSpec("list", lambda config, context: lambda drawn: [1]),
    ]
"""
NAMES = "divides,unbuilt,numbers,list,colours"


@pytest.fixture
def broken(tmp_path):
    (tmp_path / "broken.py").write_text(BROKEN)
    return str(tmp_path / "broken.py")


def test_a_metric_that_fails_leaves_the_others_and_the_images(tiny_run, broken, tmp_path, capsys):
    words = ["evaluate", str(tiny_run), "--metrics", NAMES, "-n", "4", "--plugin", broken]
    assert main([*words, "--device", "cpu", "--json", str(tmp_path / "numbers.json")]) == 1
    out, err = capsys.readouterr()
    assert "colours/saturation" in out
    assert "error: failed: divides, unbuilt, numbers, list; everything else was measured and written" in err
    assert "Traceback" not in out + err
    table = json.loads((tmp_path / "numbers.json").read_text())
    assert table["failed"] == ["divides", "unbuilt", "numbers", "list"]
    reasons = table["not_measured"]
    assert reasons["divides"] == "failed: ZeroDivisionError: division by zero (broken.py:5)"
    assert reasons["unbuilt"].startswith("failed: KeyError: 'no such layer' (broken.py:")
    assert "x is a float, not a t2ikit.Measure" in reasons["numbers"]
    assert "it gave a list, not a dict" in reasons["list"]
    folder = next(path for path in (tiny_run / "evaluations").iterdir() if _failed(path))
    assert len(list((folder / "drawn").iterdir())) == 4


def _failed(folder):
    numbers = folder / "evaluation.json"
    return numbers.is_file() and "divides" in json.loads(numbers.read_text())["failed"]


def test_images_are_there_before_anything_is_measured(tiny_run, tmp_path, monkeypatch):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run, ignore=shutil.ignore_patterns("evaluations"))
    seen = []

    def look(self, drawn):
        seen.extend(sorted(path.parent.name for path in run.rglob("00000.png")))
        raise KeyboardInterrupt

    monkeypatch.setattr("t2ikit.metrics.colours.Colours.__call__", look)
    with pytest.raises(KeyboardInterrupt):
        measure_and_write(Evaluator(run, EvaluationOptions(n=4, metrics=["colours"])))
    assert seen == ["drawn", "real"]


def test_all_metrics_failing_is_no_mistake_of_the_users(tiny_run, broken, capsys):
    words = ["evaluate", str(tiny_run), "--metrics", "divides", "-n", "2", "--plugin", broken]
    assert main([*words, "--device", "cpu"]) == 1
    assert "error: failed: divides" in capsys.readouterr().err


# ---------------------------------------------------------------- metrics of one name

SECOND = """
from t2ikit import Config, Measure, MetricSpec, hookimpl

class C(Config):
    value: float = 1.0

@hookimpl
def t2ikit_metrics():
    def build(config, context):
        return lambda drawn: {"mine": Measure(config.value, len(drawn.images))}
    return [MetricSpec("colours", build, C)]
"""


def test_metrics_of_one_name_are_both_measured(tiny_run, tmp_path):
    (tmp_path / "second.py").write_text(SECOND)
    plugins = [str(tmp_path / "second.py")]
    question = EvaluationOptions(
        n=4,
        metrics=["t2ikit/colours", "second/colours"],
        settings=['metrics."second/colours".value=7'],
    )
    measures = measure_run(tiny_run, question, plugins=plugins).measures
    assert measures["second/colours/mine"].value == 7
    assert "t2ikit/colours/saturation" in measures
    registry = Registry.load(plugins)
    assert {"t2ikit/colours", "second/colours", "neighbours"} <= set(select_metrics(registry, [], {}))
    with pytest.raises(UserError, match="this metric is not measured"):
        select_metrics(registry, [], {"colours": {}})
    with pytest.raises(UserError, match="ambiguous"):
        select_metrics(registry, ["colours"], {})


# ---------------------------------------------------------------- what numbers depend on


def test_settings_tell_apart_what_numbers_depend_on(tiny_run, tmp_path):
    clip = clip_folder(tmp_path / "clip")
    (tmp_path / "second.py").write_text(SECOND)
    names = ["clip-score", "second/colours", "prompt-accuracy"]

    def settings(*more):
        options = [f"metrics.clip-score.model={clip}", *more]
        plugins = [str(tmp_path / "second.py")]
        return Evaluator(
            tiny_run, EvaluationOptions(n=4, metrics=names, settings=options), plugins=plugins
        ).settings()

    first = settings()
    assert settings() == first
    assert first["device"] == "cpu"
    assert {"torch", "diffusers", "transformers", "t2ikit"} <= set(first["versions"])
    assert first["metrics"]["second/colours"]["options"] == {"value": 1.0}
    assert first["metrics"]["prompt-accuracy"]["stands_on"] == {"creature reader": "1"}
    assert settings('metrics."second/colours".value=2') != first
    (tmp_path / "second.py").write_text(SECOND + "# changed\n")
    assert settings()["metrics"]["second/colours"]["source"] != first["metrics"]["second/colours"]["source"]
    (tmp_path / "second.py").write_text(SECOND)
    config = tmp_path / "clip" / "preprocessor_config.json"
    config.write_text(config.read_text().replace("0.25", "0.35"))
    assert settings()["metrics"]["clip-score"] != first["metrics"]["clip-score"]


# ---------------------------------------------------------------- runs that are damaged


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("recipe.toml", "recipe.toml"),
        ("run.json", "is damaged"),
        ("weights", "checkpoint"),
        ("all", "run folder"),
    ],
)
def test_a_damaged_run_is_told_without_a_traceback(tiny_run, tmp_path, capsys, file, told):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run, ignore=shutil.ignore_patterns("evaluations"))
    if file == "all":
        shutil.rmtree(run)
        run.mkdir()
    elif file == "weights":
        for path in run.rglob("*.safetensors"):
            path.unlink()
    else:
        text = (run / file).read_text()
        (run / file).write_text(text[: len(text) // 2])
    assert main(["evaluate", str(run), "-n", "2", "--metrics", "colours", "--device", "cpu"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert told in error
    assert "Traceback" not in error
    assert not (run / "evaluations").exists()


# ---------------------------------------------------------------- sweeps that were made before


def test_a_sweep_goes_on_where_it_stopped(tiny_run, tmp_path, monkeypatch):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run, ignore=shutil.ignore_patterns("evaluations"))
    question = EvaluationOptions(n=5, metrics=["colours"])
    axes = read_axes(["guidance=1,3,5"])
    compute, calls = Evaluator.compute, []

    def stop_at_the_third(self, drawing):
        calls.append(drawing.settings["guidance"])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return compute(self, drawing)

    monkeypatch.setattr(Evaluator, "compute", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        run_sweep(Evaluator(run, question), axes)
    assert len(list(run.glob("evaluations/*/evaluation.json"))) == 2
    again = run_sweep(Evaluator(run, question), axes)
    assert calls == [1, 3, 5, 5]
    assert again.kept == 2
    assert "2 of 3 were measured before" in again.text()
    whole = run_sweep(Evaluator(tiny_run, question), axes)
    for one, other in zip(again.evaluations, whole.evaluations):
        assert one.measures == other.measures
        assert torch.equal(one.image_set.images, other.image_set.images)
        assert one.image_set.images.shape[0] == 3
    shutil.rmtree(next(path for path in (run / "evaluations").iterdir() if path.is_dir()) / "drawn")
    assert run_sweep(Evaluator(run, question), axes).kept == 2  # without its images it is made anew
    run_sweep(Evaluator(run, replace(question, seed=1)), axes)
    assert calls[-3:] == [1, 3, 5]


def test_a_metric_that_failed_is_measured_again(tiny_run, broken):
    question = EvaluationOptions(n=2, metrics=["divides", "colours"])
    for _ in range(2):
        evaluator = Evaluator(tiny_run, question, plugins=[broken])
        written = sweep_and_write(evaluator, read_axes(["guidance=1,2"]))
        assert written.failed == ("divides",)
        assert "measured before" not in written.text()


def test_sweeps_of_other_values_keep_their_own_files(tiny_run):
    question = EvaluationOptions(n=2, metrics=["colours"])
    swept = [run_sweep(Evaluator(tiny_run, question), read_axes([f"guidance={g}"])) for g in ("1,3", "1,5")]
    run = open_run(tiny_run)
    paths = {write_sweep(sweep, run).grid for sweep in swept}
    assert len(paths) == 2
    other = run_sweep(Evaluator(tiny_run, replace(question, seed=3)), read_axes(["guidance=1,3"]))
    assert write_sweep(other, run).grid not in paths


def test_the_points_of_a_sweep_share_the_models_weights(tiny_run, monkeypatch):
    evaluator = Evaluator(tiny_run, EvaluationOptions(n=2, metrics=["colours"]))
    monkeypatch.setattr(
        "t2ikit.evaluation.evaluator.open_model", lambda *a, **k: pytest.fail("it was opened again")
    )
    model = evaluator.sampling_model({"guidance": "4"})
    assert model.generator is evaluator.model.generator
    assert (model.sampler.guidance, evaluator.model.sampler.guidance) != (4, 4)
    assert model.sampler.guidance == 4


def test_what_is_measured_is_told_on_a_terminal_alone(tiny_run, monkeypatch, capsys):
    question = EvaluationOptions(n=2, metrics=["colours"])
    measure_run(tiny_run, question)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("t2ikit.utils.console.can_move", lambda console: True)
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    measure_run(tiny_run, question)
    assert "measuring colours" in capsys.readouterr().err
