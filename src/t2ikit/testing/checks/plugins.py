"""The checks of whole plugins, recipes and exporters."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tempfile
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch

from t2ikit.config.describe import describe
from t2ikit.config.toml import dump_toml, load_toml
from t2ikit.errors import UserError
from t2ikit.recipes.compose import build_components
from t2ikit.recipes.read import read_recipe
from t2ikit.recipes.resolve import resolve
from t2ikit.registry.loading import PluginError, check_hooks
from t2ikit.registry.registry import Entry, Registry
from t2ikit.registry.specs import KINDS, SINGULAR
from t2ikit.testing.report import Check, Trial, require_all
from t2ikit.testing.sources import Source, plugin_sources
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
    """Check an installed plugin, a package's folder or a plugin file.

    Its hooks, its specs, the help of its options, and that listing it does not import torch.

    Args:
        name: of the plugin, or a folder, or `./file.py`; the torch rule holds for no file.

    Raises:
        AssertionError: it cannot be used, an option has no help, or its module imports torch at its top.
    """
    try:
        with plugin_sources(name) as sources:
            for source in sources:
                trial = PluginTrial(source)
                require_all(PLUGIN_CHECKS, trial)
                for entry in trial.entries:
                    check_help(entry)
    except UserError as error:
        raise AssertionError(f"there is no such plugin: {error}") from error


class PluginTrial(Trial):
    """A plugin as it is loaded.

    Args:
        source: where it is.
    """

    def __init__(self, source: Source) -> None:
        self.source, self.title = source, f"plugin {source.name}"

    @cached_property
    def module(self) -> ModuleType:
        """Its module."""
        try:
            return self.source.load()
        except PluginError as error:
            raise AssertionError(f"{self.title}: {error}") from error

    @cached_property
    def registry(self) -> Registry:
        """All plugins, this one among them."""
        try:
            registry = self.source.register(self.module)
        except PluginError as error:
            raise AssertionError(f"{self.title}: {error}") from error
        broken = registry.plugins[self.source.name].error
        require(broken is None, f"{self.title}: {broken}")
        return registry

    @property
    def entries(self) -> list[Entry]:
        """Its parts."""
        every = (entry for kind in KINDS for entry in self.registry.entries(kind.kind))
        return [entry for entry in every if entry.plugin == self.source.name]


def _check_import(trial: PluginTrial) -> None:
    _ = trial.module


def _check_hooks(trial: PluginTrial) -> None:
    try:
        check_hooks(trial.module)
    except PluginError as error:
        raise AssertionError(f"{trial.title}: {error}") from error


def _check_specs(trial: PluginTrial) -> None:
    _ = trial.registry


def _check_torch(trial: PluginTrial) -> None:
    """A file is run when it is asked for, so it may import what it likes."""
    if trial.source.file is not None:
        return
    module = trial.module.__name__
    hooks = [f"t2ikit_{spec_class.kind}" for spec_class in KINDS]
    result = subprocess.run(
        [sys.executable, "-c", LIST_PARTS, module, *hooks],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    require(result.returncode == 0, f"{trial.title} cannot be imported on its own:\n{result.stderr}")
    require(
        result.stdout.split()[-1:] == ["False"],
        f"{trial.title}: {module} imports torch when it is listed; import the modules that "
        "use torch inside `build`, so that the command line starts fast",
    )


def imports_torch(file: Path) -> bool:
    """Whether a plugin file imports torch at its top, which a package may not."""
    try:
        body = ast.parse(file.read_bytes()).body
    except SyntaxError:
        return False
    for node in body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        if any(name.partition(".")[0] == "torch" for name in names):
            return True
    return False


NO_TORCH = "no torch at import"
PLUGIN_CHECKS = (
    Check("import", "its module can be imported", "mend the line that is named", _check_import, vital=True),
    Check(
        "hooks",
        "functions of t2ikit's hooks, decorated with @hookimpl",
        "spell the hook as docs/plugins.md does, and decorate it",
        _check_hooks,
        vital=True,
    ),
    Check(
        "specs",
        "each hook gives a list of its specs",
        "return specs with a name, a build function and a config class, and the hook's arguments",
        _check_specs,
        vital=True,
    ),
    Check(
        NO_TORCH,
        "listing it does not import torch",
        "import the modules that use torch inside `build`",
        _check_torch,
    ),
)
"""In the order they are run."""


def check_help(entry: Entry) -> None:
    """Require that every option of a part has a help text.

    Raises:
        AssertionError: naming those that have none.
    """
    config = getattr(entry.spec, "config", None)
    bare = [] if config is None else [option.key for option in describe(config) if not option.help]
    title = f"{SINGULAR[entry.spec.kind]} {entry.canonical}"
    require(not bare, f"{title}: {', '.join(bare)} of {config and config.__name__} has no help text")


def check_recipe(name: str, registry: Registry | None = None, /) -> None:
    """Check a recipe: every name and value in it, that its parts go together, and that it can be written out.

    Args:
        name: of the recipe, or a TOML file.
        registry: where names are looked up; None takes the installed plugins.

    Raises:
        AssertionError: the recipe cannot be used.
    """
    registry = registry or Registry.load()
    check_tables(name, registry)
    with explained(f"recipe {name} cannot be used"), torch.random.fork_rng(devices=[]):
        build_components(read_recipe(registry, name), registry, torch.device("cpu"))


def check_tables(name: str, registry: Registry) -> None:
    """Check the names and values of a recipe, and that it can be written out; nothing is built.

    Raises:
        AssertionError: the recipe cannot be used.
    """
    with explained(f"recipe {name} cannot be used"):
        recipe = read_recipe(registry, name)
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
        run: a run with a checkpoint, as `t2ikit.open_run` or `t2ikit.testing.toy_run` gives it.
        registry: where names are looked up; None takes the installed plugins.
        **config: its options.

    Raises:
        AssertionError: something of that does not hold.
    """
    part = subject("exporters", name, registry, config)
    with explained(f"{part.title} fails"), tempfile.TemporaryDirectory() as folder:
        before = _contents(run.path)
        export = part.entry.spec.build(part.config, None)
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
