"""Where a plugin to be checked is: a file, a package's folder, or installed."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from t2ikit.errors import UserError, command
from t2ikit.registry.loading import (
    entry_points_by_name,
    load_entry_point,
    load_file,
    load_module,
    plugin_hint,
    plugins_of,
)
from t2ikit.registry.registry import BUILTIN, BUILTIN_MODULE, Registry


@dataclass(frozen=True)
class Source:
    """A plugin that may not be installed.

    Attributes:
        name: of the plugin.
        origin: where it is, for messages.
        load: imports its module; raises `PluginError`.
        file: the plugin file, where it is one.
        installed: whether `Registry.load` finds it by itself.
    """

    name: str
    origin: str
    load: Callable[[], ModuleType]
    file: Path | None = None
    installed: bool = False

    def register(self, module: ModuleType) -> Registry:
        """All plugins, this one among them.

        Raises:
            PluginError: its hooks cannot be called, or what they give is no list of specs.
        """
        registry = Registry.load()
        if not self.installed:
            registry.add(self.name, self.origin, module, self.file)
        return registry


@contextmanager
def plugin_sources(target: str) -> Iterator[list[Source]]:
    """The plugins of a file, of a package's folder, or of a name; a folder can be imported from meanwhile.

    Args:
        target: a .py file, the folder of a pyproject.toml, or the name of an installed plugin, which comes
            before a folder called alike (`./NAME`).

    Raises:
        UserError: it is none of these.
    """
    path = Path(target).expanduser()
    if path.is_file() and path.suffix == ".py":
        file = path.resolve()
        yield [Source(path.stem, str(path), lambda: load_file(file)[0], file)]
    elif path.is_dir() and target not in (BUILTIN, *entry_points_by_name()):
        with _importable(path.resolve()):
            yield _of_package(path)
    else:
        yield [_installed(target)]


def _installed(name: str) -> Source:
    if name == BUILTIN:
        return Source(name, name, lambda: load_module(BUILTIN_MODULE), installed=True)
    points = entry_points_by_name()
    if name not in points:
        raise UserError(
            f"there is no plugin {name} to check",
            expected="a .py file, the folder of a pyproject.toml, or the name of an installed plugin",
            got=name,
            fix=plugin_hint(name, [BUILTIN, *points]),
        )
    return Source(name, name, lambda: load_entry_point(points[name][0]), installed=True)


def _of_package(folder: Path) -> list[Source]:
    named = plugins_of(folder)
    if not named:
        raise UserError(
            f"{folder / 'pyproject.toml'} names no plugin",
            expected="an entry point in the group t2ikit",
            got="none",
            fix='add [project.entry-points.t2ikit] with NAME = "PACKAGE.plugin"',
        )
    return [_in_package(name, module, folder) for name, module in named.items()]


def _in_package(name: str, module: str, folder: Path) -> Source:
    """A plugin of a folder, also where that is what is installed."""
    found = Registry.load().plugins.get(name)
    if found is not None and found.error is None and not _is_in(found.module, folder):
        raise UserError(
            f"the name {name} is taken by an installed plugin, which is not the one in {folder}",
            expected="another name, or this folder installed",
            got=name,
            fix=f"uninstall the other, or {command('pip', 'install', '-e', folder)}",
        )
    return Source(name, str(folder), lambda: load_module(module), installed=found is not None)


def _is_in(module: ModuleType | None, folder: Path) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and folder.resolve() in Path(file).resolve().parents


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Put a package's folder on the path, and forget its modules afterwards: the next may be called alike."""
    places = [str(place) for place in (folder / "src", folder) if place.is_dir()]
    before = set(sys.modules)
    sys.path[:0] = places
    importlib.invalidate_caches()
    try:
        yield
    finally:
        for place in places:
            sys.path.remove(place)
        for name in set(sys.modules) - before:
            if _is_in(sys.modules[name], folder):
                del sys.modules[name]
