"""`t2ikit compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from t2ikit.cli.output import print_result
from t2ikit.cli.train import Device


def command(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, two or more.")],
    out: Annotated[Path, typer.Option(help="The HTML file.")],
    prompts: Annotated[Path | None, typer.Option(help="A file of prompts to sample, one a line.")] = None,
    data: Annotated[str | None, typer.Option(help="Prompts of other data than the runs'.")] = None,
    metrics: Annotated[str | None, typer.Option(help="As in t2ikit evaluate.")] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="Number of prompts that are measured.")] = 256,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="metrics.NAME.KEY=VALUE; repeatable.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of prompts and noise.")] = 0,
    plugin: Annotated[list[str] | None, typer.Option(help="A plugin a run or a metric needs.")] = None,
    device: Annotated[Device, typer.Option(help="Where to compute.")] = Device.auto,
) -> None:
    """Compare trained runs in one HTML file that opens from disk."""
    from t2ikit.evaluation.functions import compare
    from t2ikit.sampling.sample import read_prompts
    from t2ikit.utils.files import check_report

    check_report(out)  # before the file of prompts is read
    compare(
        runs,
        out=out,
        prompts=[] if prompts is None else read_prompts([], prompts),
        data=data,
        metrics=() if metrics is None else metrics,
        n=n,
        seed=seed,
        set=settings,
        plugins=plugin or [],
        device=device.value,
    )
    print_result([("report", out)])
