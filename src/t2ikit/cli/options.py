"""`t2ikit options`."""

from __future__ import annotations

from typing import Annotated

import typer

from t2ikit.cli.output import echo, print_rows


def command(
    name: Annotated[
        str, typer.Argument(help="A part (unet, imagen/unet, losses:clip) or a table of the core (train).")
    ],
    plugin: Annotated[
        list[str] | None, typer.Option(help="Also look into ./file.py; may be repeated.")
    ] = None,
) -> None:
    """Print what a part can be set to: types, bounds, defaults, units."""
    from t2ikit.config import describe
    from t2ikit.registry import Registry
    from t2ikit.schema_lookup import find_config

    found = find_config(Registry.load(plugin or []), name)
    echo(f"# {found.title}")
    rows = [[row.key, row.type, row.default, row.help] for row in describe(found.config)]
    print_rows(["option", "takes", "default", "help"], rows)
