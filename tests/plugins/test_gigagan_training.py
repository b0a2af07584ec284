"""GANs and mixes of both families through the command line: they train, stay finite, sample and evaluate."""

from __future__ import annotations

import json
import math

import pytest

from clip_support import clip_folder
from t2ikit.cli import main
from t2ikit.evaluation.evaluator import measure_run
from t2ikit.evaluation.results import EvaluationOptions
from t2ikit.recipes.read import read_recipe
from t2ikit.registry.registry import Registry

SMALL = [
    "train.steps=6",
    "train.batch=4",
    "train.log_every=1",
    "train.save_every=3",
    "train.sample_every=6",
    "train.validation_images=4",
    "data.count=64",
    "data.size=16",
]
GAN = [
    *SMALL,
    "generator.channels=[32, 32, 16]",
    "generator.filters=[1, 2, 4]",
    "generator.attention=[false, true, true]",
    "generator.text_attention=[]",
    "generator.head_width=16",
    "critics.multiscale.channels=[32, 32, 16]",
    "critics.multiscale.attention=[false, true, false]",
    "critics.multiscale.head_width=16",
    "losses.r1.every=2",
]
LOSSES = {"adversarial", "adversarial-critic", "matching", "contrastive", "words", "r1"}
IMAGEN = [
    *SMALL,
    "generator.channels=[16, 32]",
    "generator.attention=[false, true]",
    "generator.head_width=16",
]


def settings(*values):
    return [word for value in values for word in ("--set", value)]


def losses(run):
    """The logged losses by name, each a list over steps."""
    found: dict[str, list[float]] = {}
    for line in (run / "log.jsonl").read_text().splitlines():
        for name, value in json.loads(line).items():
            if name.startswith("loss/"):
                found.setdefault(name.removeprefix("loss/"), []).append(value)
    return found


def train(run, plugin, *values):
    assert main(["train", "--plugin", plugin, "--out", str(run), *settings(*values)]) == 0
    found = losses(run)
    assert all(math.isfinite(x) for values in found.values() for x in values)
    return found


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return clip_folder(tmp_path_factory.mktemp("clip"))


@pytest.mark.parametrize("precision", ["no", "bf16"])
@pytest.mark.parametrize("multiscale", ["true", "false"])
def test_a_gan_trains_with_everything_on(tmp_path, clip, precision, multiscale):
    run = tmp_path / "run"
    found = train(
        run,
        "gigagan",
        *GAN,
        f"train.precision={precision}",
        f"critics.multiscale.multiscale={multiscale}",
        "losses.clip.use=gigagan/clip",
        f"losses.clip.model={clip}",
        "critics.multiscale.augment.translation=0.1",
    )
    assert set(found) == {*LOSSES, "clip"}
    assert len(found["r1"]) == 3  # lazy: every second step
    assert len(found["adversarial"]) == 6
    result = measure_run(
        run, EvaluationOptions(n=8, metrics=["colours"], settings=["sampler.truncation=0.5"])
    )
    assert result.settings["steps"] == 1


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_a_resumed_gan_goes_on_as_if_nothing_had_happened(tmp_path, kind):
    both = [f"optimizer.{player}.kind={kind}" for player in ("generator", "critic")]
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    expected = train(whole, "gigagan", *GAN, *both)
    train(halves, "gigagan", *GAN, *both)
    for path in sorted((halves / "checkpoints").glob("step-*6")):
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
    assert main(["train", "--resume", str(halves)]) == 0
    assert losses(halves) == expected


def test_an_unconditional_gan_ignores_the_text(tmp_path):
    found = train(
        tmp_path / "run",
        "gigagan",
        *GAN,
        "generator.text=false",
        "critics.multiscale.text=false",
        "losses.matching.weight=0",
        "losses.contrastive.weight=0",
        "losses.words.weight=0",
    )
    assert set(found) == {"adversarial", "adversarial-critic", "r1"}


def test_the_vision_aided_critic_beside_the_multiscale_one(tmp_path, clip):
    found = train(
        tmp_path / "run", "gigagan", *GAN, "critics.vision.use=gigagan/vision-aided",
        f"critics.vision.model={clip}", "critics.vision.depths=2",
    )  # fmt: skip
    assert set(found) == LOSSES


def test_a_denoiser_with_the_clip_loss(tmp_path, clip):
    found = train(
        tmp_path / "run", "imagen", *IMAGEN, "losses.clip.use=gigagan/clip", f"losses.clip.model={clip}",
        "losses.clip.weight=0.1", "losses.levels.use=gigagan/multiscale-mse",
    )  # fmt: skip
    assert set(found) == {"denoise", "clip", "levels"}


def test_a_denoiser_with_a_critic(tmp_path):
    found = train(
        tmp_path / "run",
        "imagen",
        *IMAGEN,
        "critics.giga.use=gigagan/multiscale",
        "critics.giga.channels=[32, 32, 16]",
        "critics.giga.attention=[false, true, false]",
        "losses.adversarial.use=gigagan/adversarial",
        "losses.adversarial.weight=0.01",
        "losses.critic.use=gigagan/adversarial-critic",
        "losses.matching.use=gigagan/matching",
        "losses.r1.use=gigagan/r1",
    )
    assert set(found) == {"denoise", "adversarial", "critic", "matching", "r1"}


def test_the_ladder_adds_one_part_a_rung():
    registry = Registry.load([])
    rungs = {}
    for name in ("unconditional", "text", "matching", "clip", "multiscale", "filter-bank", "vision-aided"):
        recipe = read_recipe(registry, f"gigagan/ladder-{name}")
        generator, critic = recipe.parts["generator"].config, recipe.critics["multiscale"].config
        rungs[name] = {
            "text": generator.text and critic.text,
            "matching": "matching" in recipe.losses,
            "clip": "clip" in recipe.losses,
            "multiscale": critic.multiscale,
            "bank": max(generator.filters) > 1,
            "vision": "vision" in recipe.critics,
        }
    order = ("text", "matching", "clip", "multiscale", "filter-bank")
    assert not any(rungs["unconditional"].values())
    before = rungs["unconditional"]
    for name in order:
        added = [part for part in before if rungs[name][part] and not before[part]]
        assert added == [{"filter-bank": "bank"}.get(name, name)]
        assert all(rungs[name][part] for part in before if before[part])
        before = rungs[name]
    assert rungs["vision-aided"] == {**rungs["matching"], "vision": True}


def test_the_full_recipe_has_everything_on():
    recipe = read_recipe(Registry.load([]), "gigagan/gigagan-64")
    assert {"adversarial", "adversarial-critic", "matching", "clip", "r1"} == set(recipe.losses)
    assert recipe.critics["multiscale"].config.multiscale
    assert recipe.parts["generator"].config.filters == (1, 1, 2, 4, 8)
