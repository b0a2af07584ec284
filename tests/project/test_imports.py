"""Imports follow the map in docs/architecture.md: no circles, each layer on those below, plugins outside."""

from __future__ import annotations

import ast
import graphlib
from pathlib import Path

import grimp
import pytest

import t2ikit

ROOT = Path(__file__).parents[2]
PLUGINS = ("t2ikit_imagen", "t2ikit_gigagan")
LAYERS = (
    "errors",
    "utils",
    "config",
    "registry",
    "core",
    "nn",
    "text",
    "data",
    "recipes",
    "runs",
    "watching",
    "sampling",
    "demo",
    "metrics",
    "evaluation",
    "training",
    "distillation",
    "ablation",
    "memory",
    "exporters",
    "pipeline",
    "testing",
    "builtin",
    "cli",
    "__main__",
)
"""Folders and files of `t2ikit`, each of which imports only those before it."""
ANY_LENGTH = {"cli", "metrics"}
"""Folders that stay one list."""


@pytest.fixture(scope="module")
def graph():
    """Every import counts: at the top, within functions, and for type checking alone."""
    return grimp.build_graph("t2ikit", *PLUGINS, cache_dir=None)


@pytest.fixture(scope="module")
def imports(graph):
    return {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}


def layer_of(module: str) -> str:
    package, _, rest = module.partition(".")
    return rest.partition(".")[0] if package == "t2ikit" and rest else package


def test_there_are_no_circles(imports):
    graphlib.TopologicalSorter(imports).prepare()  # a CycleError names the circle


def test_each_layer_imports_only_those_below(imports):
    place = {name: number for number, name in enumerate(LAYERS)}
    upward = [
        f"{module} imports {other}"
        for module, others in sorted(imports.items())
        for other in sorted(others)
        if layer_of(module) in place and place.get(layer_of(other), -1) > place[layer_of(module)]
    ]
    assert upward == []


def test_the_longest_chain_of_folders_is_short(imports):
    below: dict[str, set[str]] = {}
    for module, others in imports.items():
        below.setdefault(layer_of(module), set()).update(map(layer_of, others))
    floors: dict[str, int] = {}
    for folder in graphlib.TopologicalSorter({a: b - {a} for a, b in below.items()}).static_order():
        floors[folder] = 1 + max((floors[other] for other in below[folder] - {folder}), default=0)
    assert max(floors.values()) <= 11


def test_every_module_is_in_a_layer(imports):
    assert {layer_of(module) for module in imports} == {*LAYERS, "t2ikit", *PLUGINS}


def test_the_core_imports_no_plugin(imports):
    found = [(a, b) for a, others in imports.items() for b in others if a.startswith("t2ikit.")]
    assert found
    assert [pair for pair in found if pair[1].startswith(PLUGINS)] == []


@pytest.mark.parametrize("plugin", PLUGINS)
def test_plugins_use_public_names_alone(plugin):
    private = []
    for path in sorted((ROOT / "plugins" / plugin).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "t2ikit":
                names = [alias.name for alias in node.names if node.module == "t2ikit"]
                private += [f"{path.name}: {node.module}"] if node.module != "t2ikit" else []
                private += [
                    f"{path.name}: {name}" for name in names if name not in {*t2ikit.__all__, "__version__"}
                ]
            elif isinstance(node, ast.Import):
                private += [f"{path.name}: {a.name}" for a in node.names if a.name.startswith("t2ikit.")]
    assert private == []


def test_no_public_name_is_a_module_too(graph):
    assert {f"t2ikit.{name}" for name in t2ikit.__all__} & set(graph.modules) == set()


def test_folders_and_files_stay_small():
    for folder in sorted({path.parent for path in (ROOT / "src").rglob("*.py")}):
        files = list(folder.glob("*.py"))
        assert len(files) <= 14 or folder.name in ANY_LENGTH, f"{folder}: {len(files)} files"
    for path in sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]):
        lines = path.read_text(encoding="utf-8").splitlines()
        assert len(lines) <= 300, f"{path}: {len(lines)} lines"


def test_functions_stay_short():
    lengths = {}
    for path in sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                assert node.end_lineno is not None
                lengths[f"{path.name}:{node.name}:{node.lineno}"] = node.end_lineno - node.lineno + 1
    assert {name: length for name, length in lengths.items() if length > 50} == {}
    ordered = sorted(lengths.values())
    assert ordered[len(ordered) // 2] <= 7
    assert ordered[len(ordered) * 9 // 10] <= 21


def test_every_folder_says_what_it_holds():
    for path in (ROOT / "src").rglob("__init__.py"):
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path


def test_words_of_the_field():
    """Pictures and enlarging are for the creatures' drawings, and for keys and files of earlier versions."""
    allowed = {"creatures", "renamed.py", "moved.py"}
    found = []
    for path in sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]):
        if allowed & set(path.parts):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if any(old in line for old in ("old_attribute(", "take_old_names(", "file_name, picture")):
                continue
            if any(f" {word}" in f" {line.lower()}" for word in ("picture", "enlarg")):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert found == []


def test_no_two_modules_of_tests_have_one_name():
    names = [path.name for path in (ROOT / "tests").rglob("*.py") if path.name != "__init__.py"]
    assert sorted({name for name in names if names.count(name) > 1}) == []
