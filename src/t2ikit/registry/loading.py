"""Plugins one by one: import their module, collect their specs, and say what is wrong with them.

A plugin is other people's code. Whatever it does wrong becomes a `PluginError`, so that one broken plugin
does not take the command line down with it.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from t2ikit.config.base import Config, DatasetConfig
from t2ikit.config.toml import load_toml
from t2ikit.errors import UserError, command, did_you_mean
from t2ikit.registry import hookspecs
from t2ikit.registry.specs import KINDS, NEEDS, DatasetSpec, LossSpec, RecipeSpec

GROUP = "t2ikit"
"""Of the entry points of plugins."""
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
HOOKS: tuple[str, ...] = tuple(
    name for name, value in vars(hookspecs).items() if hasattr(value, "t2ikit_spec")
)
Specs = dict[str, list[Any]]


class PluginError(Exception):
    """Why a plugin cannot be used, in one line."""


def isolated(what: str, module: str, call: Callable[[], Any]) -> Any:
    """What a piece of plugin code gives.

    Args:
        what: named in the message, where it is not plain from the error; may be empty.
        module: the plugin's module, so that the message can name a line of it.
        call: the code.

    Raises:
        PluginError: it raised anything at all, or called `exit`.
    """
    try:
        return call()
    except (Exception, SystemExit) as error:  # a third party may raise anything
        raise PluginError(f"{what}{_one_line(error, module)}") from error


def _one_line(error: BaseException, module: str) -> str:
    """`Type: message (file:line)`, at the last line of the plugin itself that was running."""
    message = next(iter(str(error).strip().splitlines()), "")
    text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    if isinstance(error, SyntaxError) and error.filename:
        return f"SyntaxError: {error.msg} ({error.filename}:{error.lineno})"
    frames = list(traceback.walk_tb(error.__traceback__))
    own = [pair for pair in frames if _belongs(str(pair[0].f_globals.get("__name__")), module)]
    if not own:
        return text
    frame, line = own[-1]
    return f"{text} ({frame.f_code.co_filename}:{line})"


def _belongs(name: str, module: str) -> bool:
    top = module.split(".")[0]
    return name == top or name.startswith(f"{top}.")


def load_module(name: str) -> ModuleType:
    """Import the module an entry point names.

    Raises:
        PluginError: it cannot be imported.
    """
    module: ModuleType = isolated("", name, lambda: importlib.import_module(name))
    return module


def load_file(path: Path) -> tuple[ModuleType, str]:
    """Run a plugin file as a module of its own; give it with the SHA-256 of what was run.

    Its folder is not put on the path: nothing runs but the file that was named.

    Raises:
        PluginError: it has a syntax error, or fails while it runs.
    """
    source = path.read_bytes()
    digest = hashlib.sha256(source).hexdigest()
    name = f"t2ikit_file_{re.sub(r'[^0-9A-Za-z_]', '_', path.stem)}_{digest[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None:
        raise PluginError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pydantic look the module of a class up there
    inspect.modulesbyfile[str(path)] = name  # and an earlier file may stand here
    try:
        isolated("", name, lambda: exec(compile(source, str(path), "exec"), module.__dict__))
    except PluginError:
        del sys.modules[name]
        raise
    return module, digest


def check_hooks(module: ModuleType) -> None:
    """Refuse hooks that would silently never be called; pluggy itself checks their arguments.

    Raises:
        PluginError: naming the function, and the hook that was probably meant.
    """
    found = 0
    for name, function in vars(module).items():
        if not inspect.isroutine(function):
            continue
        marks: Mapping[str, Any] | None = getattr(function, "t2ikit_impl", None)
        here = getattr(function, "__module__", None) == module.__name__
        if marks is None:
            if here and name.startswith("t2ikit_"):
                raise PluginError(f"{name} lacks the decorator @hookimpl (from t2ikit import hookimpl)")
            continue
        hook = marks.get("specname") or name
        if hook not in HOOKS:
            raise PluginError(f"there is no hook {hook}; {did_you_mean(hook, HOOKS)}")
        found += 1
    if not found:
        raise PluginError("it implements no hook: no function in it is decorated with @hookimpl")


def collect(manager: pluggy.PluginManager, module: ModuleType) -> Specs:
    """The specs by kind that a registered plugin hands over.

    Raises:
        PluginError: a hook fails, gives something else than a list of specs, or a name twice.
    """
    found: Specs = {}
    for spec_class in KINDS:
        hook = f"t2ikit_{spec_class.kind}"
        found[spec_class.kind] = [
            spec
            for implementation in getattr(manager.hook, hook).get_hookimpls()
            if implementation.plugin is module
            for spec in _specs(
                hook, spec_class, isolated(f"{hook}: ", module.__name__, implementation.function)
            )
        ]
        _check_names(spec_class.kind, found[spec_class.kind])
    return found


def _specs(hook: str, spec_class: type[Any], given: Any) -> list[Any]:
    if not isinstance(given, list):
        raise PluginError(f"{hook} gave {_thing(given)}, not a list of {spec_class.__name__}")
    for spec in given:
        if not isinstance(spec, spec_class):
            raise PluginError(f"{hook} gave {_thing(spec)} in its list, not a {spec_class.__name__}")
        _check_spec(hook, spec)
    return given


def _thing(value: Any) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"


def _check_names(kind: str, found: list[Any]) -> None:
    names = [spec.name for spec in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise PluginError(f"it gives the name {twice[0]!r} twice among its {kind}")


def _check_spec(hook: str, spec: Any) -> None:
    """Refuse a spec that could only fail later, in the middle of a run."""
    if not isinstance(spec.name, str) or not NAME.fullmatch(spec.name):
        raise PluginError(f"{hook}: {spec.name!r} is no name; letters, digits and '_.+-' make one")
    where = f"{hook}: {spec.name}"
    if isinstance(spec, RecipeSpec):
        if not Path(spec.path).is_file():
            raise PluginError(f"{where}: there is no file {spec.path}")
        return
    if not callable(spec.build):
        raise PluginError(f"{where}: build is {_thing(spec.build)}, not a function (config, context)")
    base = DatasetConfig if isinstance(spec, DatasetSpec) else Config
    if not (isinstance(spec.config, type) and issubclass(spec.config, base)):
        raise PluginError(f"{where}: config must be a class derived from t2ikit.{base.__name__}")
    if isinstance(spec, LossSpec):
        _check_loss(where, spec)


def _check_loss(where: str, spec: LossSpec) -> None:
    if spec.player not in ("generator", "critic"):
        raise PluginError(f"{where}: player is {spec.player!r}, must be 'generator' or 'critic'")
    if isinstance(spec.needs, str):
        raise PluginError(f"{where}: needs is text; write frozenset({{{spec.needs!r}}})")
    for need in spec.needs:
        if need not in NEEDS:
            raise PluginError(f"{where}: needs has {need!r}; {did_you_mean(need, NEEDS)}")


def entry_points_by_name() -> dict[str, list[EntryPoint]]:
    """The entry points of installed plugins by name; a distribution found twice on the path counts once."""
    found: dict[str, list[EntryPoint]] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, origin_of(point))):
        found.setdefault(point.name, []).append(point)
    return found


def plugin_hint(text: str, known: Iterable[str]) -> str:
    """What was probably meant by what is no plugin: that of a package called so, or one called alike.

    Args:
        text: a name or a path.
        known: names of plugins.
    """
    points = [point for several in entry_points_by_name().values() for point in several]
    brought = [one.name for one in points if one.dist and plain_name(one.dist.name) == plain_name(text)]
    if brought:
        return f"the package {text} brings the plugin {' and '.join(brought)}: use that name"
    with suppress(UserError, RuntimeError):  # a broken pyproject.toml, or an unknown user's home
        folder = Path(text).expanduser()
        named = plugins_of(folder) if (folder / "pyproject.toml").is_file() else {}
        if named:
            place = text if re.search(r"[/\\]", text) else f"./{text}"  # else a name on the index
            install = command("pip", "install", "-e", place)
            return f"use the name of the plugin in it, {' or '.join(named)}, once it is installed: {install}"
    return did_you_mean(text, known)


def plugins_of(folder: Path) -> dict[str, str]:
    """Names and modules of the plugins that a package's pyproject.toml names.

    Raises:
        UserError: it cannot be read.
    """
    found: Any = load_toml(folder / "pyproject.toml")
    for key in ("project", "entry-points", GROUP):
        found = found.get(key, {}) if isinstance(found, dict) else {}
    return {name: str(module) for name, module in found.items()} if isinstance(found, dict) else {}


def plain_name(name: str) -> str:
    """The name of a distribution as all its spellings have it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def origin_of(point: EntryPoint) -> str:
    """The distribution that an entry point is of, with its version."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value


def load_entry_point(point: EntryPoint) -> ModuleType:
    """The module of a plugin.

    Raises:
        PluginError: it cannot be imported, or the entry point names something in it.
    """
    if point.attr:
        raise PluginError(f"its entry point names {point.value}, must name a module, such as {point.module}")
    return load_module(point.module)
