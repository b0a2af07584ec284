"""The examples that put single parts into a user's own code, and the study's plans."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from t2ikit.recipe import read_recipe
from t2ikit.registry import Registry

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(script: str, *words: object) -> str:
    """What an example prints."""
    command = [sys.executable, str(EXAMPLES / script), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=None)
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
            assert recipe.train.keep > plan.points
            assert ("clip" in recipe.losses) == rung.clip


def test_a_failed_command_ends_the_study_and_names_its_log(tmp_path):
    load("plans")
    load("report")
    study = load("study")
    some = study.Study(study.PLANS["creatures", 32], tmp_path, 2, "cpu")
    some.call("fine", sys.executable, "-c", "print('hello')")
    assert (tmp_path / "logs" / "fine.log").read_text() == "hello\n"
    called = []

    def fail(number):
        called.append(number)
        some.call(f"bad{number}", sys.executable, "-c", "raise SystemExit(3)")

    with pytest.raises(study.StudyError, match="ended with status 3"):
        some.together([(fail, number) for number in range(20)])
    assert len(called) < 20


def test_the_study_s_tables_are_means_over_seeds():
    load("plans")
    report = load("report")
    runs = [{"measures": {"a": 1.0}}, {"measures": {"a": 4.0}}]
    assert report.over_seeds(runs, report.measured("a")) == "2.5 (1.0 to 4.0)"
    assert report.over_seeds(runs[:1], report.measured("a"), 2) == "1.00"
    assert report.markdown(["x", "y"], [["1", "2"]]) == ["| x | y |", "| --- | --- |", "| 1 | 2 |"]
