"""`t2ikit plugin new`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from t2ikit.cli.output import echo, print_result
from t2ikit.registry.scaffold.kinds import PartKind
from t2ikit.utils.console import Verbosity, verbosity

KINDS = ", ".join(kind.value for kind in PartKind)


def command(
    name: Annotated[str, typer.Argument(help="Of the package, such as my-loss.")],
    kind: Annotated[PartKind, typer.Option(help=f"What its part is: {KINDS}.")],
    out: Annotated[Path, typer.Option(help="Folder in which the package's folder is made.")] = Path("."),
) -> None:
    """Write a package with a part that works: its options, its tests, and how to run it."""
    from t2ikit.errors import command as quoted
    from t2ikit.registry.scaffold.scaffold import new_package

    folder = new_package(name, kind, out)
    print_result([("package", folder)])
    if verbosity() > Verbosity.quiet:
        echo("\nThen, as its README.md says:")
        echo(quoted("pip", "install", "-e", folder))
        echo(quoted("t2ikit", "plugin", "check", folder))
