"""The documentation says what the code has."""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
import pkgutil
import re
import shlex
from pathlib import Path

import pytest
import torch
from test_imports import LAYERS
from test_tour import printed

import t2ikit
from t2ikit import SamplerConfig, UserError
from t2ikit.config.toml import parse_setting
from t2ikit.recipes.read import read_recipe
from t2ikit.recipes.schema import TrainConfig
from t2ikit.registry import hookspecs
from t2ikit.registry.registry import Registry
from t2ikit.training.start import FIXED_ON_RESUME

ROOT = Path(__file__).parents[2]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", *DOCS]
OTHERS = [ROOT / f"{name}.md" for name in ("CHANGELOG", "CODE_OF_CONDUCT", "CONTRIBUTING", "SECURITY")]
HOOKS = [name for name in dir(hookspecs) if name.startswith("t2ikit_")]


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_documented_with_its_arguments(hook):
    arguments = ", ".join(inspect.signature(getattr(hookspecs, hook)).parameters)
    assert f"`{hook}({arguments})`" in (ROOT / "docs" / "plugins.md").read_text()


def anchors(page: Path) -> set[str]:
    """What `#...` may name in a page, by GitHub's rule."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_links_lead_somewhere():
    broken = []
    for page in [*PAGES, *OTHERS]:
        for target, anchor in re.findall(r"\]\((?!http)([^)#]*)#?([^)]*)\)", page.read_text()):
            found = page.parent / target if target else page
            if not found.exists() or (anchor and anchor not in anchors(found)):
                broken.append(f"{page.name}: {target}#{anchor}")
    assert broken == []


def settings_of(words: list[str]) -> list[str]:
    return [value for option, value in itertools.pairwise(words) if option == "--set"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_training_commands_of_the_docs_make_a_recipe(page, tmp_path, monkeypatch):
    """Plugins, recipes, settings and their values as they are printed, checked as `t2ikit train` checks."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "emoji").mkdir()  # which a command before has made
    for _, name, *words in printed(page):
        given = dict(itertools.pairwise(words))
        recipe = given.get("--recipe")
        if name == "train" and "--resume" in words:
            for setting in settings_of(words):
                (table, key), _ = parse_setting(setting)
                assert table == "train"
                assert key in {*TrainConfig.model_fields} - {*FIXED_ON_RESUME}
        elif name in ("train", "memory") and not str(recipe).endswith(".toml"):
            plugins = [value for option, value in itertools.pairwise(words) if option == "--plugin"]
            if "--init" in words and recipe is None:
                plugins.append("imagen")  # of which the run would be
            there = [str(ROOT / one) if one.endswith(".py") else one for one in plugins]
            registry = Registry.load(there)
            read_recipe(registry, recipe, data=given.get("--data"), settings=settings_of(words))


BASES = [
    ("imagen", []),
    ("gigagan", []),
    ("gigagan", ["losses.clip.use=gigagan/clip", "losses.clip.model=somewhere"]),
    ("imagen", ["data.spec=some/folder"]),
    ("imagen", ["data.spec=wds:shards-{0..9}.tar", "text.use=t5"]),
    ("imagen", ["data.spec=openmoji"]),
    ("imagen", ["data.spec=fluent-emoji"]),
]
"""Plugins and settings, one of which has any option that a text of the docs sets."""


PLACEHOLDER = re.compile(r"\b(KEY|METRIC|N)\b|^[^=]*$")
"""Settings that stand for any of a kind."""


def takes(setting: str) -> bool:
    """Whether anything takes a setting, with its value."""
    (first, *keys), _ = parse_setting(setting)
    if first in ("metrics", "upscale"):
        part = Registry.load().find("metrics", keys[0]).spec.config if first == "metrics" else SamplerConfig
        return keys[-1] in part.model_fields
    for plugin, others in BASES:
        try:
            read_recipe(Registry.load([plugin]), None, settings=[*others, setting])
        except UserError:
            continue
        return True
    return False


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_in_the_text_are_taken(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    refused = []
    for quoted in re.findall(r"`([^`]*--set [^`]+)`", text):
        words = shlex.split(" ".join(quoted.split()))
        refused += [one for one in settings_of(words) if not PLACEHOLDER.search(one) and not takes(one)]
    assert refused == []


def test_the_example_loss_is_as_short_as_the_docs_say():
    lines = (ROOT / "examples" / "huber.py").read_text().splitlines()
    assert len(lines) <= 15


def test_the_loss_guide_shows_the_example_itself():
    guide = (ROOT / "docs" / "writing-a-loss.md").read_text()
    assert (ROOT / "examples" / "huber.py").read_text().strip() in guide


@pytest.mark.filterwarnings("ignore:t2ikit.Drawn:DeprecationWarning")
def test_the_public_names_are_those_of_the_stub():
    """What type checkers see is what loads, and a name that is not there is an AttributeError."""
    tree = ast.parse(Path(t2ikit.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    seen = [
        (node.module, alias.name)
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    assert sorted(t2ikit.__all__) == sorted(name for _, name in seen)
    for module, name in seen:
        assert getattr(t2ikit, name) is getattr(importlib.import_module(f"t2ikit.{module}"), name)
    with pytest.raises(AttributeError, match="nothing"):
        _ = t2ikit.nothing


def test_no_module_hides_a_public_function():
    modules = {module.name for module in pkgutil.iter_modules(t2ikit.__path__)}
    assert not modules & set(t2ikit.__all__)


ACTS = {"ablate", "compare", "distil", "evaluate", "export", "sample", "sweep", "train"}


@pytest.mark.parametrize("name", sorted(ACTS & set(t2ikit.__all__)))
def test_what_the_commands_do_is_a_function_with_an_example(name):
    assert f"t2ikit.{name}(" in getattr(t2ikit, name).__doc__


@pytest.mark.parametrize("name", sorted(set(t2ikit.__all__) - {"__version__", "hookimpl"}))
def test_every_public_name_is_documented(name):
    thing = getattr(t2ikit, name)
    own = vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__
    assert own, name
    assert not own.startswith(f"{name}("), "this is what dataclass writes where there is none"
    if not inspect.isclass(thing):
        takes = set(inspect.signature(thing).parameters)
        if len(takes) > 3:
            told = own.split("Args:")[1].split("Returns:")[0]
            assert {word for word in takes if not re.search(rf"\b{word}\b", told)} == set()
        return
    methods = [
        getattr(thing, key)
        for key, value in vars(thing).items()
        if inspect.isfunction(value) and not key.startswith("_") and value.__name__ == key
    ]
    assert [method.__qualname__ for method in methods if not inspect.getdoc(method)] == []


SNIPPETS = [
    pytest.param(code, id=f"{page.name}-{number}")
    for page in PAGES
    if page.name != "python.md"  # whose snippets go on from each other: test_python.py
    for number, code in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL))
]


@pytest.mark.parametrize("code", SNIPPETS)
def test_the_python_in_the_docs_runs(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "snippet"}
    exec(code, names)
    tensors = [value for value in names.values() if isinstance(value, torch.Tensor)]
    assert all(tensor.isfinite().all() for tensor in tensors)


ARCHITECTURE, CONTRIBUTING = ROOT / "docs" / "architecture.md", ROOT / "CONTRIBUTING.md"


@pytest.mark.parametrize(("page", "least"), [(ARCHITECTURE, 60), (CONTRIBUTING, 25)])
def test_the_maps_name_files_that_exist(page, least):
    named = re.findall(r"`([\w./-]+(?:/|\.(?:py|pyi|md|j2|yml|cff|txt|toml)))`", page.read_text())
    places = (ROOT, ROOT / "src" / "t2ikit")
    assert len(named) > least
    assert [name for name in named if not any((place / name).exists() for place in places)] == []


def test_the_map_lists_the_folders_in_their_order():
    section = ARCHITECTURE.read_text().split("## Folders")[1].split("\n## ")[0]
    named = [
        name.removesuffix("/").removesuffix(".py")
        for name in re.findall(r"^- `(.*?)`", section, re.MULTILINE)
    ]
    assert named == [layer for layer in LAYERS if layer != "__main__"]


def test_functions_that_the_table_names_exist():
    table = CONTRIBUTING.read_text().split("## Ten changes")[1].split("\n## ")[0]
    rows = [
        line.split("|")[2:4]
        for line in table.splitlines()
        if line.startswith("| a") or line.startswith("| w")
    ]
    for file, notes in rows:
        files = re.findall(r"`(src/[\w./-]+\.py)`", file)
        for name in re.findall(r"`(_?[a-z_]+)`", notes) if files else []:
            assert name in (ROOT / files[0]).read_text(), (files[0], name)
    assert len(rows) == 10


def test_the_parts_of_imagen_are_used_in_ten_lines():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "imagen.md").read_text(), re.DOTALL)
    assert len(blocks) == 4
    for block in blocks:
        assert len([line for line in block.splitlines() if line.strip()]) <= 10
