"""The documentation says what the code has."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
import torch

from t2ikit import hookspecs
from t2ikit.registry import Registry
from t2ikit.schema import TrainConfig

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", *DOCS]
HOOKS = [name for name in dir(hookspecs) if name.startswith("t2ikit_")]


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_documented_with_its_arguments(hook):
    arguments = ", ".join(inspect.signature(getattr(hookspecs, hook)).parameters)
    assert f"`{hook}({arguments})`" in (ROOT / "docs" / "plugins.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_exist(page):
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
    import t2ikit

    for name in t2ikit.__all__:
        assert getattr(t2ikit, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = t2ikit.nothing


SNIPPETS = [
    pytest.param(code, id=f"{page.name}-{number}")
    for page in PAGES
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
