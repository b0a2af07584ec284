"""From a name, as after `t2ikit options`, to what can be set there."""

from __future__ import annotations

from dataclasses import dataclass

from t2ikit.config.base import Config
from t2ikit.config.describe import Option, describe
from t2ikit.errors import UserError, did_you_mean
from t2ikit.recipes.options import NAMES, Table, find_table, narrowed, open_recipe, recipe_tables
from t2ikit.recipes.schema import SECTIONS
from t2ikit.registry.registry import Entry, Registry
from t2ikit.registry.specs import KINDS, SINGULAR, LossSpec, RecipeSpec

CONFIGURED = [spec_class.kind for spec_class in KINDS if spec_class is not RecipeSpec]


@dataclass(frozen=True)
class Described:
    """What can be set, and the line that introduces it.

    Attributes:
        title: one line.
        options: with the values of a recipe where they are not the defaults.
        recipe: whose values they are; empty where it is a part alone.
    """

    title: str
    options: tuple[Option, ...]
    recipe: str = ""


def find_options(registry: Registry, name: str, recipe: str | None = None) -> Described:
    """What can be set under a name.

    Args:
        registry: where parts are looked up.
        name: a table or an option of a recipe (`data`, `losses.denoise`, `data.size`); a part of any kind
            (`unet`, `imagen/unet`, `kind:name` where several kinds share it), or an option of it
            (`imagen/unet.channels`); or a table of the core (`loss`).
        recipe: whose values are shown; None takes the default of the plugin asked for, else imagen's.

    Raises:
        UserError: nothing is called so, or several parts are; or the recipe cannot be read.
    """
    first = name.partition(".")[0]
    if first in NAMES:
        opened = open_recipe(registry, recipe)
        if opened is not None:
            table = find_table(registry, opened, name)
            if first == "metrics":  # which no recipe sets
                return Described(f"{name}: {table.title}", table.options)
            return Described(f"{name} in {opened.name}: {table.title}", table.options, opened.name)
    part, dot, option = name.partition(".")
    title, config = _find_config(registry, part if dot else name)
    table = Table(title, tuple(describe(config)))
    if dot:
        table = narrowed(table, option, part)
    return Described(table.title, table.options)


def _find_config(registry: Registry, name: str) -> tuple[str, type[Config]]:
    """Title and config class of a part or of a table of the core."""
    kind, colon, rest = name.partition(":")
    if colon:
        if kind not in CONFIGURED:
            raise UserError(
                f"there is no kind of part called {kind!r}", got=name, fix=did_you_mean(kind, CONFIGURED)
            )
        return _described(registry.find(kind, rest))
    if name in SECTIONS:
        config = SECTIONS[name]
        return f"{name}: {_first_line(config)}", config
    found = [
        (kind, entry)
        for kind in CONFIGURED
        for entry in registry.entries(kind)
        if name in (entry.spec.name, entry.canonical)
    ]
    if not found:
        raise _unknown(registry, name)
    if len({kind for kind, _ in found}) > 1:
        raise UserError(
            f"{name!r} is the name of several parts",
            expected="one of " + ", ".join(f"{kind}:{entry.canonical}" for kind, entry in found),
            got=name,
        )
    return _described(registry.find(found[0][0], name))


def _described(entry: Entry) -> tuple[str, type[Config]]:
    spec = entry.spec
    facts = [SINGULAR[spec.kind], f"from {entry.origin}"]
    if isinstance(spec, LossSpec):
        facts.append(f"of the {spec.player}; also takes weight and every, see `t2ikit options loss`")
    return f"{entry.canonical}, {', '.join(facts)}: {spec.summary}".rstrip(": "), spec.config


def _first_line(config: type[Config]) -> str:
    return (config.__doc__ or "").strip().split("\n")[0]


def _unknown(registry: Registry, name: str) -> UserError:
    entries = [entry for kind in CONFIGURED for entry in registry.entries(kind)]
    known = [label for entry in entries for label in (entry.spec.name, entry.canonical)]
    tables = [*NAMES, *_tables(registry)]
    return UserError(
        f"there is nothing with options called {name!r}",
        expected="a table of a recipe, such as " + ", ".join(tables[:8]) + "; or a part",
        got=name,
        fix=did_you_mean(name, [*known, *tables, *SECTIONS]),
    )


def _tables(registry: Registry) -> list[str]:
    try:
        recipe = open_recipe(registry, None)
    except UserError:
        return []
    return [] if recipe is None else list(recipe_tables(registry, recipe))
