"""`t2ikit distil`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from t2ikit.cli.command import A_RUN
from t2ikit.cli.train import Device, report


def command(
    run: Annotated[Path, typer.Argument(help=f"A denoiser: {A_RUN[0].lower()}{A_RUN[1:]}")],
    out: Annotated[Path | None, typer.Option(help="New run folder. Default: runs/distil-001.")] = None,
    steps: Annotated[int | None, typer.Option(help="Sets train.steps.", min=1)] = None,
    calls: Annotated[
        int | None, typer.Option(help="Network calls for an image, 1 to 8.", metavar="N", min=1)
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="A recipe's name or a TOML file. Default: t2ikit/distil.")
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(help="A dataset in place of the run's own; may be repeated, to mix them."),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE, overrides the recipe; may be repeated.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Sets train.seed.")] = None,
    device: Annotated[Device, typer.Option(help="Device to compute on.")] = Device.auto,
    minutes: Annotated[
        float | None, typer.Option(help="Train for this many minutes instead of train.steps.")
    ] = None,
    plugin: Annotated[
        list[str] | None, typer.Option(help="A plugin that the run or the recipe needs; may be repeated.")
    ] = None,
    checkpoint: Annotated[
        int | None,
        typer.Option(help="Step of the run's checkpoint. Default: the newest.", metavar="STEP", min=0),
    ] = None,
) -> None:
    """Train a one-step student of a trained denoiser."""
    from t2ikit.distillation.distil import distil

    student = distil(
        run,
        out=out,
        steps=steps,
        calls=calls,
        recipe=recipe,
        data=data or None,
        set=settings,
        seed=seed,
        device=device.value,
        minutes=minutes,
        plugins=plugin or (),
        checkpoint=checkpoint,
    )
    report(student)
