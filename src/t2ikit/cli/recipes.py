"""`t2ikit recipes`."""

from __future__ import annotations

from typing import Annotated

import typer

from t2ikit.cli.output import print_rows


def command(
    name: Annotated[str | None, typer.Argument(help="Print this recipe as TOML.")] = None,
    plugin: Annotated[list[str] | None, typer.Option(help="Also load ./file.py; may be repeated.")] = None,
) -> None:
    """List the recipes and their requirements, or print one to start your own from."""
    from t2ikit.registry.registry import Registry

    registry = Registry.load(plugin or [])
    if name is not None:
        print(registry.find("recipes", name).spec.path.read_text(encoding="utf-8"), end="")
        return
    rows = [[e.canonical, e.spec.summary, e.spec.needs] for e in registry.entries("recipes")]
    print_rows(["recipe", "summary", "needs"], rows)
