"""`t2ikit runs`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from t2ikit.cli.output import print_rows
from t2ikit.utils.console import log


def command(
    folder: Annotated[
        Path | None, typer.Argument(help="A folder of runs or exports, or a single one. Default: `runs`.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list of objects.")] = False,
) -> None:
    """List the runs in a folder: steps, last validation loss (weighted as in the recipe), the share of
    prompts followed in every attribute (if `t2ikit evaluate` measured it), and the state: done, stopped
    (`t2ikit train --resume` continues it), running or damaged.
    """
    from t2ikit.runs.listing import COLUMNS, list_runs, row

    where = folder or Path("runs")
    runs = list_runs(where) if folder or where.exists() else []
    if as_json:
        from json import dumps

        print(dumps([run.table() for run in runs], indent=1, allow_nan=False))
        return
    print_rows(COLUMNS, [row(run) for run in runs])
    if not runs:
        log(f"no runs in {where}: `t2ikit train --plugin imagen` makes one")
    for run in runs:
        if run.problem:
            log(f"{run.name} is damaged: {run.problem}")
