"""`t2ikit evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from t2ikit.cli.sample import Weights
from t2ikit.cli.train import Device


def command(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    data: Annotated[str | None, typer.Option(help="Prompts of other data than the run's.")] = None,
    metrics: Annotated[str, typer.Option(help="Names, separated by commas.")] = "prompt-accuracy",
    n: Annotated[int, typer.Option("-n", min=1, help="Number of prompts, one picture each.")] = 256,
    steps: Annotated[int | None, typer.Option(min=1, help="Sampler steps.")] = None,
    guidance: Annotated[float | None, typer.Option(help="Guidance weight.")] = None,
    sampler: Annotated[str | None, typer.Option(help="Another sampler's name.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="sampler.KEY=VALUE; may be repeated.")
    ] = None,
    weights: Annotated[Weights, typer.Option(help="Averaged or last weights.")] = Weights.ema,
    seed: Annotated[int, typer.Option(help="What prompts and noise are drawn from.")] = 0,
    json: Annotated[Path | None, typer.Option(help="Also write the numbers to this file.")] = None,
    plugin: Annotated[list[str] | None, typer.Option(help="A plugin the run or a metric needs.")] = None,
    device: Annotated[Device, typer.Option(help="Where to compute.")] = Device.auto,
) -> None:
    """Measure a trained run on prompts it was not trained on."""
    from t2ikit.evaluating import check_target, describe, evaluate, write_evaluation

    if json is not None:
        check_target(json)
    evaluation = evaluate(
        run,
        data=data,
        metrics=[name.strip() for name in metrics.split(",") if name.strip()],
        n=n,
        seed=seed,
        steps=steps,
        guidance=guidance,
        sampler=sampler,
        settings=settings or [],
        weights=weights.value,
        plugins=plugin or [],
        device=device.value,
    )
    typer.echo(describe(evaluation))
    if json is not None:
        write_evaluation(evaluation, json)
