"""The tables of a recipe and what can be set in them, by the names that `--set` takes. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from t2ikit.config.base import Config
from t2ikit.config.describe import Option, describe
from t2ikit.config.toml import shown
from t2ikit.errors import UserError, did_you_mean
from t2ikit.recipes.read import read_recipe
from t2ikit.recipes.recipe import PARTS, Part, Recipe
from t2ikit.recipes.schema import LossConfig, OptimizerConfig
from t2ikit.registry.registry import Entry, Registry
from t2ikit.registry.specs import SINGULAR, LossSpec

USUAL_PLUGIN = "imagen"
"""Whose default recipe is meant where none is named."""
GROUPS = ("critics", "losses", "metrics", "optimizer")
"""Tables of tables."""
NAMES = ("train", *PARTS, *GROUPS)


@dataclass(frozen=True)
class Table:
    """One table of a recipe.

    Attributes:
        title: what it is.
        options: what can be set in it, with the recipe's values.
    """

    title: str
    options: tuple[Option, ...]


def usual_recipe(registry: Registry) -> str | None:
    """The recipe that is meant where none is named; None where no plugin has a default one.

    Raises:
        UserError: several plugins that were asked for have one.
    """
    defaults = [entry for entry in registry.entries("recipes") if entry.spec.name == "default"]
    if any(entry.plugin in registry.requested for entry in defaults):
        return registry.default_recipe().canonical
    first = sorted(defaults, key=lambda entry: entry.plugin != USUAL_PLUGIN)
    return first[0].canonical if first else None


def recipe_tables(registry: Registry, recipe: Recipe) -> dict[str, Table]:
    """Every table by its dotted name, those of all installed metrics among them."""
    tables = {"train": Table("how long, how much at a time", _options(type(recipe.train), recipe.train))}
    for key, part in recipe.parts.items():
        tables[key] = _part_table(registry, PARTS[key], part, use=key != "data")
    for name, part in recipe.critics.items():
        tables[f"critics.{name}"] = _part_table(registry, "critics", part)
    for name, use in recipe.losses.items():
        table = _part_table(registry, "losses", use.part)
        tables[f"losses.{name}"] = replace(table, options=table.options + _options(LossConfig, use.config))
    for player, optimizer in recipe.optimizer.items():
        tables[f"optimizer.{player}"] = Table(f"of the {player}", _options(OptimizerConfig, optimizer))
    for entry in registry.entries("metrics"):
        tables[f"metrics.{_short(registry, entry)}"] = Table(_about(entry), _options(entry.spec.config))
    return tables


def find_table(registry: Registry, recipe: Recipe, name: str) -> Table:
    """What `name` stands for: a table, one option of it, or all tables of a group.

    A loss, critic or metric that the recipe does not use is found, too: setting one of its options adds it.

    Raises:
        UserError: there is no such table or option.
    """
    tables = recipe_tables(registry, recipe)
    if name in GROUPS:
        within = {key.partition(".")[2]: table for key, table in tables.items() if key.startswith(f"{name}.")}
        return Table(", ".join(within) or _none(registry, name), tuple(_prefixed(within)))
    for key in sorted(tables, key=len, reverse=True):
        if name == key:
            return tables[key]
        if name.startswith(f"{key}."):
            return narrowed(tables[key], name[len(key) + 1 :], key)
    return _unused(registry, tables, name)


def narrowed(table: Table, option: str, where: str) -> Table:
    """A table with one option alone, or with those below it.

    Raises:
        UserError: it has none of that name.
    """
    found = tuple(one for one in table.options if one.key == option or one.key.startswith(f"{option}."))
    if found:
        return replace(table, options=found)
    raise UserError(
        f"{where} has no option called {option!r}",
        expected="one that can be set: " + ", ".join(one.key for one in table.options),
        got=f"{where}.{option}",
        fix=did_you_mean(option, [one.key for one in table.options]),
    )


def _none(registry: Registry, group: str) -> str:
    known = ", ".join(f"{group}.{_short(registry, entry)}" for entry in registry.entries(group))
    return f"none in this recipe; these can be added: {known}"


def _prefixed(tables: Mapping[str, Table]) -> Iterator[Option]:
    for name, table in tables.items():
        yield from (replace(one, key=f"{name}.{one.key}") for one in table.options)


def _unused(registry: Registry, tables: Mapping[str, Table], name: str) -> Table:
    """The table of a loss, critic or metric that could be added under its own name."""
    group, _, rest = name.partition(".")
    part, _, option = rest.partition(".")
    parts = registry.entries(group) if group in ("losses", "critics", "metrics") else []
    if not any(part in (entry.spec.name, entry.canonical) for entry in parts):
        raise UserError(
            f"there is no table called {name!r} in this recipe",
            expected="one of " + ", ".join(tables),
            got=name,
            fix=did_you_mean(name, [*tables, *(f"{group}.{entry.spec.name}" for entry in parts)]),
        )
    entry = registry.find(group, part)
    more = _options(LossConfig) if group == "losses" else ()
    table = Table(f"not in this recipe; {_about(entry)}", _options(entry.spec.config) + more)
    return narrowed(table, option, f"{group}.{part}") if option else table


def _part_table(registry: Registry, kind: str, part: Part, *, use: bool = True) -> Table:
    names = ", ".join(entry.canonical for entry in registry.entries(kind))
    which = Option("use", "text", "required", f"which {SINGULAR[kind]}: {names}", shown(part.entry.canonical))
    return Table(_about(part.entry), (*([which] if use else []), *_options(type(part.config), part.config)))


def _options(config_class: type[Config], config: Config | None = None) -> tuple[Option, ...]:
    """All options; with a config, what it says where that is not the default."""
    found = describe(config_class)
    if config is None:
        return tuple(found)
    table = config.model_dump(mode="json")
    values = [shown(_at(table, one.key)) for one in found]
    return tuple(
        replace(one, value="" if value == one.default else value) for one, value in zip(found, values)
    )


def _at(table: Mapping[str, object], key: str) -> object:
    value: object = table
    for step in key.split("."):
        value = value[step] if isinstance(value, Mapping) else None
    return value


def _about(entry: Entry) -> str:
    spec = entry.spec
    of = f" of the {spec.player}" if isinstance(spec, LossSpec) else ""
    return f"{entry.canonical}, {SINGULAR[spec.kind]}{of}, from {entry.origin}: {spec.summary}".rstrip(": ")


def _short(registry: Registry, entry: Entry) -> str:
    names = [other.spec.name for other in registry.entries(entry.spec.kind)]
    return entry.spec.name if names.count(entry.spec.name) == 1 else entry.canonical


def open_recipe(registry: Registry, name: str | None) -> Recipe | None:
    """The recipe that is named, or else the usual one.

    Raises:
        UserErrors: what is wrong with it.
    """
    chosen = name or usual_recipe(registry)
    return None if chosen is None else read_recipe(registry, chosen)
