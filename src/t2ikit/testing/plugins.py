"""The checks of whole plugins, recipes and exporters."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from t2ikit.config.toml import dump_toml, load_toml
from t2ikit.errors import UserError
from t2ikit.recipes.compose import build_components
from t2ikit.recipes.read import read_recipe
from t2ikit.recipes.resolve import resolve
from t2ikit.registry.registry import Registry
from t2ikit.registry.specs import KINDS
from t2ikit.testing.support import explained, require, subject

if TYPE_CHECKING:
    from t2ikit.runs.run import Run

# What listing the plugins does, for one plugin alone.
LIST_PARTS = """
import importlib, sys
module = importlib.import_module(sys.argv[1])
for hook in sys.argv[2:]:
    if hasattr(module, hook):
        getattr(module, hook)()
print("torch" in sys.modules)
"""


def check_plugin(name: str) -> None:
    """Check an installed plugin, or a plugin file: hooks, specs, and that listing it does not import torch.

    Args:
        name: of the plugin, or `./file.py`; the torch rule holds for installed plugins alone.

    Raises:
        AssertionError: it cannot be used, or its module imports torch at its top.
    """
    try:
        registry = Registry.load([name])
    except UserError as error:
        raise AssertionError(str(error)) from error
    plugin = registry.plugins[registry.requested[0]]
    if plugin.path is not None or plugin.module is None:
        return
    hooks = [f"t2ikit_{spec_class.kind}" for spec_class in KINDS]
    result = subprocess.run(
        [sys.executable, "-c", LIST_PARTS, plugin.module.__name__, *hooks],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    require(result.returncode == 0, f"plugin {name} cannot be imported on its own:\n{result.stderr}")
    require(
        result.stdout.split()[-1:] == ["False"],
        f"plugin {name}: {plugin.module.__name__} imports torch when it is listed; import the modules that "
        "use torch inside `build`, so that the command line starts fast",
    )


def check_recipe(name: str, registry: Registry | None = None, /) -> None:
    """Check a recipe: every name and value in it, that its parts go together, and that it can be written out.

    Args:
        name: of the recipe, or a TOML file.
        registry: where names are looked up; None takes the installed plugins.

    Raises:
        AssertionError: the recipe cannot be used.
    """
    registry = registry or Registry.load()
    with explained(f"recipe {name} cannot be used"), torch.random.fork_rng(devices=[]):
        recipe = read_recipe(registry, name)
        build_components(recipe, registry, torch.device("cpu"))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "recipe.toml"
            path.write_text(dump_toml(recipe.table()), encoding="utf-8")
            again = resolve(registry, load_toml(path), name)
        require(
            again.table() == recipe.table(), f"recipe {name} is not the same after writing and reading it"
        )


def check_exporter(name: str, run: Run, registry: Registry | None = None, /, **config: Any) -> None:
    """Check an exporter: that it writes files, none of them a pickle, and leaves the run alone.

    Args:
        name: of the exporter.
        run: a run with a checkpoint, as `t2ikit.open_run` gives it.
        registry: where names are looked up; None takes the installed plugins.
        **config: its options.

    Raises:
        AssertionError: something of that does not hold.
    """
    part = subject("exporters", name, registry, config)
    with explained(f"{part.title} fails"), tempfile.TemporaryDirectory() as folder:
        before = _contents(run.path)
        export = part.entry.spec.build(part.config, run.model(part.registry).context)
        export(run, Path(folder))
        require(_contents(run.path) == before, f"{part.title} changed the run folder")
        written = [path for path in Path(folder).rglob("*") if path.is_file()]
        require(bool(written), f"{part.title} wrote no file")
        pickles = [path.name for path in written if path.suffix in (".pt", ".pth", ".bin", ".pkl", ".ckpt")]
        require(not pickles, f"{part.title} wrote {', '.join(pickles)}; use safetensors, not pickle")


def _contents(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file of a folder."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in files}
