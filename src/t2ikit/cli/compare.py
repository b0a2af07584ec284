"""`t2ikit compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from t2ikit.cli.command import A_RUN
from t2ikit.cli.output import print_result
from t2ikit.cli.train import Device


def command(
    runs: Annotated[list[Path], typer.Argument(help=f"Two or more. {A_RUN}")],
    out: Annotated[Path, typer.Option(help="HTML file to write.")],
    prompts: Annotated[Path | None, typer.Option(help="A text file of prompts, one per line.")] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(help="Take the prompts from this dataset, not the runs' own; may be repeated."),
    ] = None,
    metrics: Annotated[str | None, typer.Option(help="Metrics, as for t2ikit evaluate.")] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="Number of prompts to evaluate.")] = 256,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="metrics.NAME.KEY=VALUE; may be repeated.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of prompts and noise.")] = 0,
    plugin: Annotated[list[str] | None, typer.Option(help="A plugin that a run or a metric needs.")] = None,
    device: Annotated[Device, typer.Option(help="Device to compute on.")] = Device.auto,
) -> None:
    """Compare trained runs in one self-contained HTML file."""
    from t2ikit.evaluation.functions import compare
    from t2ikit.sampling.sample import read_prompts
    from t2ikit.utils.files import check_report

    check_report(out)  # before the file of prompts is read
    compare(
        runs,
        out=out,
        prompts=[] if prompts is None else read_prompts([], prompts),
        data=data or None,
        metrics=() if metrics is None else metrics,
        n=n,
        seed=seed,
        set=settings,
        plugins=plugin or [],
        device=device.value,
    )
    print_result([("report", out)])
