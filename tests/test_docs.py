"""The documentation says what the code has."""

from __future__ import annotations

import ast
import inspect
import pkgutil
import re
from pathlib import Path

import pytest
import torch

import t2ikit
from t2ikit.recipes.schema import TrainConfig
from t2ikit.registry import hookspecs
from t2ikit.registry.registry import Registry

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", *DOCS]
HOOKS = [name for name in dir(hookspecs) if name.startswith("t2ikit_")]


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_documented_with_its_arguments(hook):
    arguments = ", ".join(inspect.signature(getattr(hookspecs, hook)).parameters)
    assert f"`{hook}({arguments})`" in (ROOT / "docs" / "plugins.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_images_exist(page):
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_and_names_in_the_docs_exist(page):
    text = page.read_text()
    for key in re.findall(r"--set '?train\.(\w+)=", text):
        assert key in TrainConfig.model_fields, key
    registry = Registry.load()
    for name in re.findall(r"t2ikit recipes ([\w/-]+)", text):
        registry.find("recipes", name)


def test_the_example_loss_is_as_short_as_the_docs_say():
    lines = (ROOT / "examples" / "huber.py").read_text().splitlines()
    assert len(lines) <= 15


def test_the_loss_guide_shows_the_example_itself():
    guide = (ROOT / "docs" / "writing-a-loss.md").read_text()
    assert (ROOT / "examples" / "huber.py").read_text().strip() in guide


def test_every_public_name_loads():
    for name in t2ikit.__all__:
        assert getattr(t2ikit, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = t2ikit.nothing


def test_what_type_checkers_see_is_what_loads():
    """The imports under TYPE_CHECKING, the table of the modules and `__all__` name the same things."""
    tree = ast.parse(Path(t2ikit.__file__).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {node.module.removeprefix("t2ikit."): {name.name for name in node.names} for node in block.body}
    assert seen == {module: set(names) for module, names in t2ikit._MODULES.items()}
    assert {name for names in seen.values() for name in names} == set(t2ikit.__all__) - {"__version__"}


def test_no_module_hides_a_public_function():
    modules = {module.name for module in pkgutil.iter_modules(t2ikit.__path__)}
    assert not modules & set(t2ikit.__all__)


ACTS = {"compare", "evaluate", "export", "sample", "sweep", "train"}


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


def test_the_parts_of_imagen_are_used_in_ten_lines():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "imagen.md").read_text(), re.DOTALL)
    assert len(blocks) == 4
    for block in blocks:
        assert len([line for line in block.splitlines() if line.strip()]) <= 10
