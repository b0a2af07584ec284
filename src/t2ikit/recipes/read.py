"""Recipes found by name or file, laid over one another and over settings, and checked."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from t2ikit.config.renamed import settings_with_new_keys, with_new_keys
from t2ikit.config.toml import apply_settings, load_toml, merge, parse_setting, readable
from t2ikit.errors import UserError
from t2ikit.recipes.datasets import replace_data
from t2ikit.recipes.recipe import PARTS, Recipe
from t2ikit.recipes.resolve import resolve
from t2ikit.recipes.schema import LossConfig
from t2ikit.registry.registry import Registry


def read_recipe(
    registry: Registry,
    name: str | None,
    *,
    data: str | None = None,
    settings: Sequence[str] = (),
    complete: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    base: Mapping[str, Any] | None = None,
) -> Recipe:
    """Find, overlay and check a recipe.

    Args:
        registry: where names are looked up.
        name: a recipe's name or a TOML file; None takes the default of the one plugin asked for.
        data: a SPEC that replaces the recipe's data; the image size stays.
        settings: `key=value` strings, applied last.
        complete: adds tables that the recipe leaves open, before data and settings.
        base: the recipe's tables, where it is none that `name` finds but only called so.

    Raises:
        UserErrors: everything that is wrong, together.
    """
    title = name if name is not None else registry.default_recipe().canonical
    raw = _extended(registry, title, ()) if base is None else dict(base)
    if complete is not None:
        raw = complete(raw)
    if data is not None:
        raw["data"] = replace_data(registry, raw.get("data", {}), data)
    with readable(settings) as settings:
        settings = steps_or_minutes(settings)
        raw = apply_settings(_fitting(registry, raw, apply_settings({}, settings)), settings)
        return resolve(registry, raw, title, settings=settings)


def steps_or_minutes(settings: Sequence[str]) -> list[str]:
    """Settings by their new names, in which `train.steps` does away with the recipe's `train.minutes`.

    Raises:
        UserError: both are set, or an old name and its new one.
    """
    settings = settings_with_new_keys(settings)
    given = dict(map(parse_setting, settings))
    steps, minutes = given.get(("train", "steps")), given.get(("train", "minutes"))
    if steps is None:
        return settings
    if not minutes:
        return [*settings, "train.minutes=0"]
    raise UserError(
        "train.minutes and train.steps do not go together",
        expected="how long to train in minutes, or in steps",
        got=f"train.minutes={minutes}, train.steps={steps}",
        fix="leave one of them out",
    )


def _is_file(name: str) -> bool:
    return name.endswith(".toml") or name.startswith((".", "/", "~"))


def _extended(registry: Registry, name: str, seen: tuple[str, ...]) -> dict[str, Any]:
    """The raw recipe laid over the one it extends."""
    path = Path(name).expanduser() if _is_file(name) else registry.find("recipes", name).spec.path
    if str(path.resolve()) in seen:
        raise UserError(
            f"recipe {name} extends itself",
            expected="a chain of recipes that ends",
            got=" -> ".join([*(Path(step).name for step in seen), path.name]),
            fix="remove `extends` from one of them",
        )
    raw = with_new_keys(load_toml(path), name, warn=True)
    base = raw.pop("extends", None)
    if base is None:
        return raw
    below = _extended(registry, _base(registry, path, base), (*seen, str(path.resolve())))
    return merge(_fitting(registry, below, raw), raw)


def _fitting(registry: Registry, below: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`below` without the options of parts that `over` replaces, but for those the new part has too."""
    result = copy.deepcopy(dict(below))
    for keys, kind in _part_tables(over):
        old, new = _inner(result, keys), _inner(over, keys)
        use = new.get("use")
        if not isinstance(use, str) or old.get("use") in (None, use):
            continue
        try:
            known = {"use", *registry.find(kind, use).spec.config.model_fields, *LossConfig.model_fields}
        except UserError:
            continue  # told when the table is checked
        for key in set(old) - known:
            del old[key]
    return result


def _part_tables(raw: Mapping[str, Any]) -> list[tuple[tuple[str, ...], str]]:
    """Where a raw recipe has parts, and of which kinds."""
    named = {"critics": "critics", "losses": "losses"}
    tables = [((key,), kind) for key, kind in PARTS.items() if key != "data"]
    return tables + [((key, name), kind) for key, kind in named.items() for name in _inner(raw, (key,))]


def _inner(raw: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    """The table under these keys; an empty one where there is none."""
    value: Any = raw
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def _base(registry: Registry, path: Path, base: object) -> str:
    """What the recipe at `path` extends; a file is looked for beside it."""
    if not isinstance(base, str):
        raise UserError(
            f"{path}: extends is not text",
            expected="a recipe's name or a TOML file",
            got=base,
            fix=f'write extends = "NAME" or extends = "./FILE.toml" in {path.name}',
        )
    if _is_file(base):
        return str(path.parent / Path(base).expanduser())
    try:
        return registry.find("recipes", base).canonical
    except UserError as error:
        raise UserError(
            f"{path}: extends: {error.what}", expected=error.expected, got=error.got, fix=error.fix
        ) from error
