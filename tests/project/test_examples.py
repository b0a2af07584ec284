"""The examples that put single parts into a user's own code, and the study's plans."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from filelock import FileLock
from PIL import Image

from t2ikit.recipes.read import read_recipe
from t2ikit.registry.registry import Registry
from t2ikit.training.start import start_run

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(script: str, *words: object) -> str:
    """What an example prints."""
    command = [sys.executable, str(EXAMPLES / script), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_a_filter_bank_learns_in_a_model_of_your_own():
    before, after = map(float, re.findall(r"\d\.\d+", run("filter_bank_in_your_unet.py", "--steps", 60)))
    assert after < 0.7 * before


@pytest.mark.slow
def test_the_matching_loss_teaches_a_critic_of_your_own_to_read():
    off, on = map(int, re.findall(r"(\d+)%", run("matching_in_your_loop.py")))
    assert off < 60 < on


@pytest.mark.slow
def test_a_small_t5_is_trained_and_opens(tmp_path):
    assert "words are named" in run("train_t5.py", "--out", tmp_path / "t5", "--steps", 3, "--width", 32)
    registry = Registry.load()
    settings = [f"text.model={tmp_path / 't5'}", "data.count=40"]
    recipe = read_recipe(registry, "imagen/imagen-if", settings=settings)
    encoder = recipe.parts["text"].entry.spec.build(recipe.parts["text"].config, None)
    assert encoder.encode(["a red cat"]).tokens.shape == (1, 77, 32)


def load(name: str):
    """A module of the study."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / "study" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_every_rung_of_every_plan_is_a_recipe_that_resolves(tmp_path):
    plans, registry = load("plans"), Registry.load()
    for (data, size), plan in plans.PLANS.items():
        for rung in plan.rungs:
            settings = plans.settings_of(plan, rung, str(tmp_path))
            words = [f"{key}={value}" for key, value in settings.items()]
            recipe = read_recipe(registry, rung.recipe, data=data, settings=words)
            assert recipe.parts["data"].config.size == size
            assert recipe.train.steps == plan.steps
            assert recipe.train.steps % recipe.train.save_every == 0
            assert recipe.train.keep_last > plan.points
            assert ("clip" in recipe.losses) == rung.clip


def study_in(folder):
    """The study of creatures, and its module."""
    for name in ("commands", "plans", "report"):
        load(name)
    study = load("study")
    return study.Study(study.PLANS["creatures", 32], folder, 2, "cpu"), study


def test_a_failed_command_ends_the_study_and_names_its_log(tmp_path):
    some, study = study_in(tmp_path)
    commands = some.commands
    commands.call("fine", sys.executable, "-c", "print('hello')")
    assert (tmp_path / "logs" / "fine.log").read_text() == "hello\n"
    called = []

    def fail(number):
        called.append(number)
        commands.call(f"bad{number}", sys.executable, "-c", "raise SystemExit(3)")

    with pytest.raises(study.StudyError, match="ended with status 3"):
        commands.together([(fail, number) for number in range(20)])
    assert len(called) < 20


def test_what_ends_the_study_ends_its_commands(tmp_path):
    some, study = study_in(tmp_path)
    commands, ended = some.commands, []

    def long(number):
        try:
            commands.call(f"long{number}", sys.executable, "-c", "import time; time.sleep(100)")
        finally:
            ended.append(number)

    def interrupt():
        while not list((tmp_path / "logs").glob("long*.log")):
            time.sleep(0.05)
        raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        commands.together([(long, 0), (interrupt,), (long, 1)])
    assert time.monotonic() - began < 50
    assert 0 in ended
    with pytest.raises(study.StudyError, match="was stopped"):
        commands.call("more", sys.executable, "-c", "")


def test_a_run_of_the_study_goes_on_from_where_it_was_killed(tmp_path):
    some, study = study_in(tmp_path)
    rung, called = some.plan.rungs[0], []
    some.__dict__["commands"] = SimpleNamespace(call=lambda log, *words: called.append(list(words)))
    run = some.run(rung, 0)

    def train():
        called.clear()
        some.train(rung, 0)
        return called

    (words,) = train()
    assert "--recipe" in words
    run.mkdir(parents=True)
    (run / "recipe.toml").write_text("killed before its first checkpoint")
    with FileLock(run / ".training.lock"), pytest.raises(study.StudyError, match="another process"):
        train()
    (words,) = train()
    assert "--recipe" in words
    assert not run.exists()
    (run / "checkpoints" / "step-00000250").mkdir(parents=True)
    (words,) = train()
    assert words[-2:] == ["--resume", run]
    (run / "checkpoints" / f"step-{some.plan.steps:08d}").mkdir()
    assert train() == []


def test_the_study_s_tables_are_means_over_seeds():
    load("plans")
    report = load("report")
    runs = [{"measures": {"a": {"value": value, "low": 0.5, "high": 5}}} for value in (1.0, 4.0)]
    assert report.measured(runs, "a") == "2.5 (1.0 to 4.0)"
    assert report.measured(runs[:1], "a", 2) == "1.00 [0.50, 5.00]"
    assert report.measured(runs, "b") == "nan (nan to nan)"
    assert report.markdown(["x", "y"], [["1", "2"]]) == ["| x | y |", "| --- | --- |", "| 1 | 2 |"]


def pipeline_example(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLES / "pipeline_from_python.py"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_schedulers_are_drawn_with_side_by_side_or_a_sentence_says_why_not(tmp_path):
    registry = Registry.load()
    small = ["train.steps=1", "train.batch=2", "train.samples=1", "train.validation_images=2"]
    small += ["data.count=40", "data.size=16"]
    denoiser = ["generator.channels=[16,16]", "generator.head_width=16", "generator.attention=[false,true]"]
    gan = ["generator.channels=[16,16,16]", "generator.filters=[1,1,1]", "generator.head_width=16"]
    gan += ["generator.attention=[false,true,false]"]
    gan += [f"critics.multiscale.{setting.split('.')[1]}" for setting in gan if "filters" not in setting]
    gan += ["generator.text_attention=[]"]
    for name, recipe, settings in (
        ("imagen", "imagen/default", denoiser),
        ("flow", "imagen/default", [*denoiser, "sampler.use=flow"]),
        ("gan", "gigagan/default", gan),
    ):
        chosen = read_recipe(registry, recipe, settings=[*small, *settings])
        start_run(registry, chosen, tmp_path / name, device="cpu")
    out = tmp_path / "schedulers.png"
    done = pipeline_example(tmp_path / "imagen", "a red cat", "--out", out, "--steps", 2)
    assert done.returncode == 0, done.stderr[-2000:]
    with Image.open(out) as image:
        assert image.width > 4 * 16  # the run's own scheduler and three others
    for name, words in (("flow", "without a scheduler of diffusers"), ("gan", "cannot hold this model")):
        done = pipeline_example(tmp_path / name, "a red cat", "--out", out)
        assert done.returncode == 2
        assert words in done.stderr
        assert "Traceback" not in done.stderr


def test_a_small_t5_reads_capitals():
    spec = importlib.util.spec_from_file_location("train_t5", EXAMPLES / "train_t5.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tokenizer = module.make_tokenizer(["A red Cat"])
    assert tokenizer("a RED cat").input_ids == tokenizer("A red Cat").input_ids
    assert tokenizer.unk_token_id not in tokenizer("A red Cat").input_ids
