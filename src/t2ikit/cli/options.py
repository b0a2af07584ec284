"""`t2ikit options`."""

from __future__ import annotations

from typing import Annotated

import typer

from t2ikit.cli.output import echo, print_rows


def command(
    name: Annotated[
        str,
        typer.Argument(
            help="A table or setting of a recipe (data, losses.denoise, data.size), or a part "
            "(imagen/unet, losses:clip)."
        ),
    ],
    plugin: Annotated[
        list[str] | None,
        typer.Option(help="A plugin, whose default recipe is used, or ./file.py; may be repeated."),
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="A recipe's name or a TOML file. Default: imagen/default.")
    ] = None,
) -> None:
    """List settings with types, bounds, units and defaults, and the recipe's values where they differ."""
    from t2ikit.recipes.lookup import find_options
    from t2ikit.registry.registry import Registry

    found = find_options(Registry.load(plugin or []), name, recipe)
    echo(f"# {found.title}")
    if not found.recipe:
        rows = [[row.key, row.type, row.default, row.help] for row in found.options]
        print_rows(["option", "takes", "default", "help"], rows)
        return
    rows = [[row.key, row.type, row.default, row.value, row.help] for row in found.options]
    print_rows(["option", "takes", "default", found.recipe, "help"], rows)
