"""Which plugins there are, what they bring, and how their names are looked up.

Only code that was installed, or that was named with `--plugin`, is run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from t2ikit import __version__
from t2ikit.errors import UserError, command, did_you_mean
from t2ikit.registry import hookspecs
from t2ikit.registry.loading import (
    NAME,
    PluginError,
    check_hooks,
    collect,
    entry_points_by_name,
    load_entry_point,
    load_file,
    load_module,
    origin_of,
    plugin_hint,
)
from t2ikit.registry.specs import KINDS, SINGULAR

BUILTIN, BUILTIN_MODULE = "t2ikit", "t2ikit.builtin"


@dataclass(frozen=True)
class Entry:
    """One part that a plugin brings.

    Attributes:
        spec: its description, see `t2ikit.registry.specs`.
        plugin: the plugin's name.
        origin: the distribution and its version, or the path of a plugin file.
    """

    spec: Any
    plugin: str
    origin: str

    @property
    def canonical(self) -> str:
        """`plugin/name`, which is unique within a kind."""
        return f"{self.plugin}/{self.spec.name}"


@dataclass(frozen=True)
class Plugin:
    """A plugin that was found, whether it works or not.

    Attributes:
        name: of its entry point, or the stem of its file.
        origin: the distribution and its version, or the path of the file.
        module: None where it could not be loaded.
        error: why it cannot be used, in one line; None where it can.
        path, sha256: of a plugin file; None for an installed one.
    """

    name: str
    origin: str
    module: ModuleType | None = None
    error: str | None = None
    path: Path | None = None
    sha256: str | None = None


class Registry:
    """All plugins and their parts; made by `Registry.load`.

    Attributes:
        plugins: by name, broken ones included.
        requested: the names of those asked for with `--plugin`, in order, each once.
    """

    def __init__(self) -> None:
        self.plugins: dict[str, Plugin] = {}
        self.requested: tuple[str, ...] = ()
        self._manager = pluggy.PluginManager("t2ikit")
        self._manager.add_hookspecs(hookspecs)
        self._entries: dict[str, list[Entry]] = {spec_class.kind: [] for spec_class in KINDS}

    @classmethod
    def load(cls, requested: Sequence[str] = ()) -> Registry:
        """Load the built-in parts, every installed plugin, and the plugin files asked for.

        Args:
            requested: what `--plugin` was given: names of installed plugins, or paths of .py files.

        Raises:
            UserError: a requested plugin does not exist or does not work. Others that do not work are
                skipped; `plugins` says why.
        """
        registry = cls()
        registry.add(BUILTIN, f"t2ikit {__version__}", load_module(BUILTIN_MODULE))
        for name, points in entry_points_by_name().items():
            registry._add_installed(name, points)
        names = [registry._request(text) for text in requested]
        registry.requested = tuple(dict.fromkeys(names))
        return registry

    @property
    def hook(self) -> Any:
        """pluggy's relay: `registry.hook.t2ikit_step_end(...)` calls every working plugin."""
        return self._manager.hook

    @property
    def manager(self) -> pluggy.PluginManager:
        """Where observers of one training are registered."""
        return self._manager

    def entries(self, kind: str) -> list[Entry]:
        """All parts of a kind, in the order their plugins were loaded."""
        return list(self._entries[kind])

    def find(self, kind: str, name: str) -> Entry:
        """The part called `name`: canonical (`plugin/name`), or short while that is unique.

        Of several recipes of one name, that of the one plugin asked for is meant.

        Raises:
            UserError: no part of the kind is called so, or more than one.
        """
        found = [entry for entry in self._entries[kind] if name in (entry.spec.name, entry.canonical)]
        asked = [entry for entry in found if entry.plugin in self.requested]
        if kind == "recipes" and len(asked) == 1:
            return asked[0]
        if len(found) == 1:
            return found[0]
        if found:
            raise UserError(
                f"{SINGULAR[kind]} {name!r} is ambiguous",
                expected="one of " + ", ".join(entry.canonical for entry in found),
                got=f"{name!r}, which is in " + " and in ".join(entry.origin for entry in found),
                fix=f"write the whole name, such as {found[0].canonical}",
            )
        raise self._unknown(kind, name)

    def default_recipe(self) -> Entry:
        """The recipe called "default" of the one requested plugin that has one.

        Raises:
            UserError: no requested plugin has one, or several do, or none was requested.
        """
        defaults = [entry for entry in self._entries["recipes"] if entry.spec.name == "default"]
        found = [entry for entry in defaults if entry.plugin in self.requested]
        if len(found) == 1:
            return found[0]
        plugins = ", ".join(entry.plugin for entry in defaults) or "none of those installed"
        if not self.requested:
            raise UserError(
                "no recipe and no plugin was named",
                expected=f"a plugin with a default recipe: {plugins}",
                fix="add --plugin NAME, or --recipe NAME|FILE.toml",
            )
        asked = ", ".join(self.requested)
        listed = (
            ", ".join(entry.canonical for entry in (found or self._entries["recipes"])) or "there is none"
        )
        what = (
            f"each of {asked} has"
            if found
            else f"none of {asked} has"
            if "," in asked
            else f"{asked} has not"
        )
        raise UserError(
            f"which recipe is meant is not clear: {what} a default recipe",
            expected="exactly one requested plugin with a default recipe" + ("" if found else f": {plugins}"),
            fix=f"say which with --recipe NAME, one of: {listed}",
        )

    # ------------------------------------------------------------------ loading

    def _add_installed(self, name: str, points: Sequence[EntryPoint]) -> None:
        origin = " and ".join(origin_of(point) for point in points)
        if name == BUILTIN:
            for point in points:
                key = f"{name} ({origin_of(point)})"
                self.plugins[key] = Plugin(
                    key, origin_of(point), error="the name t2ikit is taken by the core"
                )
            return
        try:
            if len(points) > 1:
                raise PluginError(f"{origin} both bring a plugin called {name!r}: uninstall one of them")
            self.add(name, origin, load_entry_point(points[0]))
        except PluginError as error:
            self.plugins[name] = Plugin(name, origin, error=str(error))

    def add(
        self, name: str, origin: str, module: ModuleType, path: Path | None = None, sha256: str | None = None
    ) -> None:
        """Take a plugin in, or raise PluginError and leave no trace of it."""
        if self._manager.is_registered(module):
            raise PluginError(
                f"its module {module.__name__} is the plugin {self._manager.get_name(module)} too"
            )
        check_hooks(module)
        try:
            self._manager.register(module, name)
            found = collect(self._manager, module)
        except (PluginError, pluggy.PluginValidationError) as error:
            if self._manager.has_plugin(name):
                self._manager.unregister(name=name)
            raise PluginError(" ".join(str(error).split())) from error
        for kind, specs in found.items():
            self._entries[kind] += [Entry(spec, name, origin) for spec in specs]
        self.plugins[name] = Plugin(name, origin, module, path=path, sha256=sha256)

    def _request(self, text: str) -> str:
        """The name of the plugin that `--plugin TEXT` asks for, loaded first if it is a file."""
        if text.endswith(".py") or "/" in text or "\\" in text:
            return self._request_file(text)
        plugin = self.plugins.get(text)
        if plugin is None:
            file = Path(f"{text}.py")
            near = f"{command('--plugin', f'./{file}')} for the file" if file.is_file() else None
            raise UserError(
                f"{text}: there is no such plugin",
                expected="an installed plugin or a .py file",
                got=text,
                fix=near or plugin_hint(text, self.plugins),
            )
        if plugin.error:
            raise UserError(
                f"--plugin {text}: the plugin cannot be used: {plugin.error}",
                got=plugin.origin,
                fix="mend or reinstall it; `t2ikit plugins` lists those that work",
            )
        return text

    def _request_file(self, text: str) -> str:
        path = Path(text).expanduser()
        if path.suffix != ".py" or not path.is_file():
            got = "not a .py file" if path.is_file() else "there is no such file"
            got = "a folder" if path.is_dir() else got
            raise UserError(
                f"--plugin {text} cannot be loaded",
                expected="a Python file, NAME.py",
                got=got,
                fix=plugin_hint(text, ())
                if (path / "pyproject.toml").is_file()
                else "check the path; it is relative to where the command runs",
            )
        path, name = path.resolve(), path.stem
        taken = self.plugins.get(name)
        if taken is not None and taken.path == path:
            return name
        try:
            if not NAME.fullmatch(name):
                raise PluginError("letters, digits and '_.+-' make a name: rename the file")
            if taken is not None:
                raise PluginError(f"the name {name!r} is taken by {taken.origin}: rename the file")
            module, digest = load_file(path)
            self.add(name, str(path), module, path, digest)
        except PluginError as error:
            raise UserError(f"--plugin {text}: the file cannot be used: {error}") from error
        except OSError as error:
            raise UserError(f"--plugin {text} cannot be read: {error.strerror}") from error
        return name

    # ------------------------------------------------------------------ messages

    def _unknown(self, kind: str, name: str) -> UserError:
        short, listed = name.split("/")[-1], "recipes" if kind == "recipes" else "plugins"
        known = [label for e in self._entries[kind] for label in (e.spec.name, e.canonical)]
        if "/" in name:
            known = [label for label in known if "/" in label] or known
        hints = [
            f"{entry.canonical} is a {SINGULAR[other]}, not a {SINGULAR[kind]}"
            for other, entries in self._entries.items()
            for entry in entries
            if other != kind and name in (entry.spec.name, entry.canonical)
        ]
        plugin, slash, _ = name.partition("/")
        if slash and plugin not in self.plugins:
            hints.append(f"install the plugin {plugin}, which is not here")
        hints.append(did_you_mean(name, dict.fromkeys(known)))
        hints += [
            f"{short} may be in the plugin {plugin.name}, which cannot be used: {plugin.error}"
            for plugin in self.plugins.values()
            if plugin.error and ("/" not in name or name.startswith(f"{plugin.name}/"))
        ]
        return UserError(
            f"there is no {SINGULAR[kind]} called {name!r}",
            expected=f"one that `t2ikit {listed}` lists",
            got=name,
            fix="; ".join(hints),
        )
