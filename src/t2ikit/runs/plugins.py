"""The plugins that a run was made with: recorded, looked for where it is opened, named to be installed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2ikit import __version__
from t2ikit.errors import UserError, UserErrors, command

if TYPE_CHECKING:
    from t2ikit.recipes.recipe import Recipe
    from t2ikit.registry.registry import Registry

OWN = "t2ikit"
"""The distribution of the core and its two plugins; it is installed from its source."""
Recorded = Mapping[str, Any]
"""A plugin in run.json: `name`; `origin`, its distribution and version, or its file; `sha256` of a file."""


def record(recipe: Recipe, registry: Registry) -> list[dict[str, Any]]:
    """The plugins whose parts the recipe uses; a file is known by its name and hash, not its place."""
    parts = [*recipe.parts.values(), *recipe.critics.values(), *(use.part for use in recipe.losses.values())]
    names = {part.entry.plugin for part in parts}.union(*(plugins_in(part.table()) for part in parts))
    found = [registry.plugins[name] for name in sorted(names & set(registry.plugins))]
    return [
        {
            "name": plugin.name,
            "origin": plugin.path.name if plugin.path else plugin.origin,
            "sha256": plugin.sha256,
        }
        for plugin in found
    ]


def plugins_in(table: object) -> set[str]:
    """The plugins of a part's table, and of the parts that it is made of."""
    if not isinstance(table, Mapping):
        return set()
    use = table.get("use")
    own = {use.split("/")[0]} if isinstance(use, str) and "/" in use else set()
    return own.union(*(plugins_in(value) for value in table.values()))


def absent(plugins: Sequence[Recorded], registry: Registry) -> list[Recorded]:
    """Those that are not here, or do not work."""
    found = [(plugin, registry.plugins.get(plugin["name"])) for plugin in plugins]
    return [plugin for plugin, here in found if here is None or here.error]


def check_present(what: str, plugins: Sequence[Recorded], registry: Registry) -> None:
    """Refuse to go on without plugins.

    Args:
        what: was made with them, for the message.
        plugins: all that are needed.
        registry: those that are here.

    Raises:
        UserError: naming what must be installed.
    """
    errors = [_absence(what, plugin, registry) for plugin in absent(plugins, registry)]
    if len(errors) > 1:
        raise UserErrors(f"{what} was made with plugins that are not here:", errors)
    if errors:
        raise errors[0]


def check_same_files(path: Path, plugins: Sequence[Recorded], registry: Registry) -> None:
    """Refuse plugin files that are not the very same as when the run began.

    Raises:
        UserError: naming the first that has changed.
    """
    for plugin in plugins:
        here = registry.plugins.get(plugin["name"])
        if here is not None and plugin["sha256"] and here.sha256 != plugin["sha256"]:
            raise UserError(
                f"{path}: the plugin file {plugin['origin']} has changed since the run began",
                expected=f"sha256 {plugin['sha256']}",
                got=f"sha256 {here.sha256} at {here.origin}",
                fix="give the file as it was, or start a new run",
            )


def _absence(what: str, plugin: Recorded, registry: Registry) -> UserError:
    here = registry.plugins.get(plugin["name"])
    broken = here is not None and here.error
    return UserError(
        f"{what} was made with plugin {plugin['name']!r}, which "
        + ("cannot be used here" if broken else "is not here"),
        expected=requirement(plugin),
        got=here.error if here is not None and here.error else "no such plugin loaded",
        fix=how_to_install(plugin),
    )


def needed_with(package: str, plugins: Sequence[Recorded], registry: Registry) -> list[Recorded]:
    """What must be installed to import a package and sample with these plugins; this one comes first.

    Args:
        package: a top-level module, such as that of a pipeline's class.
        plugins: those that the generator, the sampler and the text encoder are of.
        registry: all that are here.
    """
    own = {"name": OWN, "origin": f"{OWN} {__version__}", "sha256": None}
    brings = [
        {"name": plugin.name, "origin": plugin.origin, "sha256": plugin.sha256}
        for plugin in registry.plugins.values()
        if plugin.module is not None and plugin.module.__name__.split(".")[0] == package
    ]
    found = {requirement(plugin): plugin for plugin in [own, *plugins, *brings]}
    return list(found.values())


def needs(plugins: Sequence[Recorded]) -> str:
    """What must be installed, for a sentence: "t2ikit 0.1.0 and t2ikit-blur 1.2 (`pip install ...`)"."""
    found = [
        requirement(plugin) + ("" if _is_own(plugin) or plugin["sha256"] else f" ({how_to_install(plugin)})")
        for plugin in plugins
    ]
    return " and ".join(found)


def _is_own(plugin: Recorded) -> bool:
    return not plugin["sha256"] and str(plugin["origin"]).rpartition(" ")[0] == OWN


def requirement(plugin: Recorded) -> str:
    """What must be there for a plugin: a distribution and its version, or a file and its hash."""
    if plugin["sha256"]:
        return f"the plugin file {plugin['origin']} (SHA-256 {plugin['sha256']})"
    return str(plugin["origin"])


def how_to_install(plugin: Recorded) -> str:
    """The command that brings a plugin, as an instruction."""
    if plugin["sha256"]:
        return f"add {command('--plugin', 'PATH/' + str(plugin['origin']))}"
    distribution, _, version = str(plugin["origin"]).rpartition(" ")
    if _is_own(plugin):
        return f"install {OWN} {version}, from its source"
    if not distribution:
        return f"install the package with the module {version}"
    return f"`{command('pip', 'install', f'{distribution}=={version}')}`"
