"""`t2ikit plugin check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from t2ikit.cli.output import echo, print_rows
from t2ikit.utils.console import Verbosity, verbosity
from t2ikit.utils.progress import phase
from t2ikit.utils.quoting import visible


def command(
    target: Annotated[
        str, typer.Argument(help="A .py file, the folder of a pyproject.toml, or an installed plugin.")
    ],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Options of its parts: losses.NAME.KEY=VALUE; may be repeated."),
    ] = None,
    run: Annotated[Path | None, typer.Option(help="What exporters are tried on. Default: a toy.")] = None,
) -> None:
    """Run the conformance checks on a plugin and say what to mend; exit status 1 if one fails."""
    from t2ikit.testing import examine_plugin

    with phase(f"checking {visible(target)}"):
        results = examine_plugin(target, set=settings or [], run=run)
    quiet = verbosity() == Verbosity.quiet
    shown = [one for one in results if not quiet or one.status == "failed"]
    rows = [[one.part, one.check, one.status, one.expected, one.found, one.fix] for one in shown]
    if rows:
        print_rows(["part", "check", "result", "expected", "found", "fix"], rows)
    counts = {
        status: sum(one.status == status for one in results) for status in ("passed", "failed", "skipped")
    }
    if not quiet:
        echo("\n" + ", ".join(f"{count} {status}" for status, count in counts.items()))
    if counts["failed"]:
        raise typer.Exit(1)
