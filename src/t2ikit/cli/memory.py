"""`t2ikit memory`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from t2ikit.cli.output import echo, print_rows
from t2ikit.utils.console import Verbosity, verbosity
from t2ikit.utils.progress import phase


def command(
    plugin: Annotated[
        list[str] | None, typer.Option(help="A plugin's name or ./file.py; may be repeated.")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="A recipe's name or a TOML file. Default: the plugin's default recipe.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="A dataset, as for `t2ikit train --data`; it is not opened.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE, overrides the recipe; may be repeated.")
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Images at once on the GPU. Default: the recipe's.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Also write the numbers, in bytes, to this file.")] = None,
) -> None:
    """Predict the GPU memory that a recipe needs for training, without a GPU."""
    from t2ikit.recipes.read import read_recipe
    from t2ikit.registry.registry import Registry

    registry = Registry.load(plugin or [])
    chosen = read_recipe(registry, recipe, data=data, settings=settings or [])
    from t2ikit.memory import report
    from t2ikit.memory.forecast import at_once, forecast
    from t2ikit.utils.files import check_target, write_numbers

    if json is not None:
        check_target(json)
    with phase("predicting"):
        found = forecast(chosen if batch is None else at_once(chosen, batch), registry)
    if verbosity() == Verbosity.quiet:
        echo(report.size(found.total))
    else:
        echo(report.summary(found))
        print_rows(report.COLUMNS, report.rows(found))
    if json is not None:
        write_numbers(found.table(), json)
