"""Old keys of recipes are read, told once with their new names, and refused beside them."""

from __future__ import annotations

import warnings

import pytest

import t2ikit
from conftest import TOYS
from t2ikit.config.renamed import RENAMED, new_key, settings_with_new_keys, with_new_keys
from t2ikit.errors import T2ikitWarning, UserError
from t2ikit.recipes.schema import OptimizerConfig, TrainConfig

OLD_RECIPE = """
extends = "toys/denoiser"
[train]
keep = 5
validation_pictures = 3
[optimizer.generator]
warmup = 7
clip_norm = 0.25
"""
TOLD = {
    "train.keep is now train.keep_last",
    "train.validation_pictures is now train.validation_images",
    "optimizer.generator.warmup is now optimizer.generator.warmup_steps",
    "optimizer.generator.clip_norm is now optimizer.generator.max_grad_norm",
}


@pytest.fixture
def old_recipe(tmp_path):
    path = tmp_path / "old.toml"
    path.write_text(OLD_RECIPE)
    return path


def test_every_new_key_is_an_option_and_no_old_one_is():
    options = {"train": TrainConfig.model_fields, "optimizer": OptimizerConfig.model_fields}
    for old, new in RENAMED.items():
        fields = options[old.split(".")[0]]
        assert new.rpartition(".")[2] in fields
        assert old.rpartition(".")[2] not in fields


def test_old_keys_of_a_recipe_set_the_new_ones(old_recipe):
    with pytest.warns(T2ikitWarning) as told:
        recipe = t2ikit.read_recipe(str(old_recipe), plugin=TOYS)
    assert (recipe.train.keep_last, recipe.train.validation_images) == (5, 3)
    assert (recipe.optimizer["generator"].warmup_steps, recipe.optimizer["generator"].max_grad_norm) == (
        7,
        0.25,
    )
    said = [str(one.message).partition(": ")[2].partition(";")[0] for one in told]
    assert sorted(said) == sorted(TOLD)


def test_old_keys_of_settings_and_what_they_are_laid_over(old_recipe):
    given = {"train": {"keep": 9, "workers": 1}, "optimizer.generator.clip_norm": 2.0}
    with pytest.warns(T2ikitWarning, match="--set: train.workers is now train.num_workers"):
        recipe = t2ikit.read_recipe(str(old_recipe), plugin=TOYS, set=given)
    assert (recipe.train.keep_last, recipe.train.num_workers) == (9, 1)
    assert recipe.optimizer["generator"].max_grad_norm == 2.0


def test_an_old_key_beside_its_new_one_is_refused(old_recipe):
    old_recipe.write_text(OLD_RECIPE.replace("keep = 5", "keep = 5\nkeep_last = 5"))
    with pytest.raises(UserError, match=r"train\.keep and train\.keep_last are the same setting"):
        t2ikit.read_recipe(str(old_recipe), plugin=TOYS)
    with pytest.raises(UserError, match="the same setting"):
        settings_with_new_keys(["train.keep=1", "train.keep_last=2"])


def test_what_has_no_new_name_stays_as_it_is_and_nothing_is_said():
    table = {"train": {"keep_best": 1, "keep_last": 2}, "generator": {"warmup": 3}, "losses": {"keep": {}}}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert with_new_keys(table, "x.toml", warn=True) == table
        assert settings_with_new_keys(["generator.keep=2", "train.keep_last=1"]) == [
            "generator.keep=2",
            "train.keep_last=1",
        ]
        assert list(with_new_keys({"train": {"keep": 1, "steps": 2}}, "x")["train"]) == ["keep_last", "steps"]
    assert new_key("optimizer.critic.warmup") == "optimizer.critic.warmup_steps"
