"""Every recipe: the table of `t2ikit recipes`, each with its file, and every hook of a plugin."""

from __future__ import annotations

import textwrap

from reference_settings import our
from t2ikit.registry import hookspecs
from t2ikit.registry.registry import Registry
from t2ikit.utils.files import cache_folder
from tables import code, plain, table

INTRODUCTION = """\
# Recipes

`t2ikit train --recipe NAME` trains one, and `t2ikit recipes NAME > my.toml` prints one to start your
own from. A recipe with `extends` begins with the tables of another."""
HOOKS = """\
# Hooks

A plugin is a module with functions of these names, decorated with `t2ikit.hookimpl`
([plugins](../plugins.md)). The specs that they return are in [registry](python/registry.md)."""
HOOK = "::: t2ikit.registry.hookspecs.{}\n    options:\n      show_root_full_path: false"


def pages(registry: Registry) -> dict[str, str]:
    """The page of the recipes, and that of the hooks."""
    return {"reference/recipes.md": _recipes(registry), "reference/hooks.md": _hooks()}


def _recipes(registry: Registry) -> str:
    entries = our(registry, "recipes")
    here, anywhere = str(cache_folder()), "~/.cache/t2ikit"
    rows = [
        [code(entry.canonical), plain(entry.spec.summary), plain(entry.spec.needs.replace(here, anywhere))]
        for entry in entries
    ]
    files = [
        f'??? note "{entry.canonical}"\n\n'
        + textwrap.indent(f"```toml\n{entry.spec.path.read_text(encoding='utf-8').rstrip()}\n```", "    ")
        for entry in entries
    ]
    return "\n\n".join([INTRODUCTION, table(["recipe", "what it trains", "needs"], rows), *files])


def _hooks() -> str:
    names = [name for name in vars(hookspecs) if name.startswith("t2ikit_")]
    return "\n\n".join([HOOKS, *(HOOK.format(name) for name in names)])
