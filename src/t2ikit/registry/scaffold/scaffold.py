"""The package of a new plugin: a part that works, its options, its tests, and how to run it."""

from __future__ import annotations

import importlib.util
import keyword
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import tomlkit
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from t2ikit.errors import UserError
from t2ikit.registry.loading import entry_points_by_name, origin_of, plain_name
from t2ikit.registry.scaffold.kinds import PartKind
from t2ikit.utils.files import unwritable

TEMPLATES = Path(__file__).parent / "templates"
DISTRIBUTION = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
"""PEP 508."""
PREFIX = "t2ikit-"
"""Of packages whose plugins are called without it."""
PLACES = {"package": "src/{module}", "tests": "tests"}
"""Where the files of a template's folder go; all others go to the top."""


@dataclass(frozen=True)
class Names:
    """What things are called in a new package.

    Attributes:
        distribution: as pip knows it, such as "t2ikit-soft-loss".
        plugin: as t2ikit knows it, such as "soft-loss".
        module: as Python imports it, such as "t2ikit_soft_loss".
        title: of classes, such as "SoftLoss".
    """

    distribution: str
    plugin: str
    module: str
    title: str


def new_package(name: str, kind: PartKind | str, out: Path | str = ".") -> Path:
    """Write the package of a plugin with one part that works; nothing that exists is overwritten.

    Args:
        name: of the package, such as "my-loss"; with "t2ikit-" before it, the plugin is called without that.
        kind: of its part, one of `PartKind`.
        out: the folder in which the package's own folder is made.

    Returns:
        The package's folder.

    Raises:
        UserError: the name cannot be one or is taken, or the folder exists or cannot be written.
    """
    names, kind = names_of(name), PartKind(kind)
    folder = Path(out).expanduser() / names.distribution
    if folder.exists():
        raise UserError(
            f"{folder} exists",
            expected="a folder that does not exist yet",
            got="a folder" if folder.is_dir() else "a file",
            fix="choose another name, or another place with --out",
        )
    try:
        for place, text in _rendered(kind.value, names).items():
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            (folder / place).write_text(text, encoding="utf-8")
    except OSError as error:
        raise unwritable(f"{folder}: the package cannot be written", error, "choose another --out") from error
    return folder


def names_of(name: str) -> Names:
    """The names in a package that is called `name`.

    Raises:
        UserError: it cannot be the name of a distribution and a module, or is taken.
    """
    distribution = plain_name(name)
    module, plugin = distribution.replace("-", "_"), distribution.removeprefix(PREFIX)
    reason = _refused(name, module) or _taken(module, plugin)
    if reason is not None:
        raise UserError(
            f"a package cannot be called {name!r}",
            expected="letters, digits and dashes, beginning with a letter, such as my-loss",
            got=reason,
            fix="choose another name",
        )
    title = "".join(word.capitalize() for word in plugin.split("-"))
    return Names(distribution, plugin, module, title)


def _refused(name: str, module: str) -> str | None:
    if not DISTRIBUTION.fullmatch(name):
        return (
            "another character, or none"
            if not name.startswith((".", "-", "_"))
            else f"it begins with {name[0]}"
        )
    if module[0].isdigit():
        return "it begins with a digit, as no module does"
    plugin = module.removeprefix(PREFIX.replace("-", "_"))
    if keyword.iskeyword(module) or not plugin.isidentifier():
        return "no name for Python" if not keyword.iskeyword(module) else "a word of Python's own"
    return None


def _taken(module: str, plugin: str) -> str | None:
    if module in sys.stdlib_module_names or importlib.util.find_spec(module) is not None:
        return f"a module called {module}, which is here already"
    points = entry_points_by_name().get(plugin)
    if points or plugin == "t2ikit":
        return f"a plugin called {plugin}, which {origin_of(points[0]) if points else 't2ikit'} is already"
    return None


def _rendered(kind: str, names: Names) -> dict[str, str]:
    """The files of a package by their places in it."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, keep_trailing_newline=True
    )

    def text(path: Path, **more: str) -> str:
        template = environment.get_template(path.relative_to(TEMPLATES).as_posix())
        return template.render({**vars(names), **more})

    about = tomlkit.parse(text(TEMPLATES / kind / "about.toml")).unwrap()
    files = {}
    for source in ("common", kind):
        for path in sorted((TEMPLATES / source).rglob("*.j2")):
            place, *rest = path.relative_to(TEMPLATES / source).parts
            where = "/".join([PLACES.get(place, place), *rest])
            files[where.removesuffix(".j2").format(**vars(names))] = text(path, **about)
    return files
