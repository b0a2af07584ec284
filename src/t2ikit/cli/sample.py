"""`t2ikit sample`."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from t2ikit.cli.output import print_result
from t2ikit.cli.train import Device


class Weights(str, Enum):
    """Which weights to use."""

    ema = "ema"
    raw = "raw"


Checkpoint = Annotated[int | None, typer.Option(min=0, help="Step of a checkpoint; else the newest.")]
SamplerName = Annotated[str | None, typer.Option(help="Another sampler; but for steps, options stay.")]


def command(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    prompt: Annotated[
        list[str] | None, typer.Argument(help='Captions to sample; "" samples without one.')
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option(help="A text file, a caption a line; blank lines are skipped.")
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="Images of each prompt.")] = 4,
    steps: Annotated[int | None, typer.Option(min=1, help="Sampler steps.")] = None,
    guidance: Annotated[
        list[float] | None, typer.Option(help="Guidance weight; repeated, one column for each.")
    ] = None,
    sampler: SamplerName = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="sampler.KEY=VALUE, upscale.KEY=VALUE; may be repeated."),
    ] = None,
    upscale: Annotated[
        list[Path] | None, typer.Option(help="A super-resolution run that upscales them; may be repeated.")
    ] = None,
    weights: Annotated[Weights, typer.Option(help="Averaged or last weights.")] = Weights.ema,
    checkpoint: Checkpoint = None,
    seed: Annotated[int, typer.Option(help="What the noise is drawn from.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the images; else RUN/outputs/001, for an export ./outputs/001."),
    ] = None,
    plugin: Annotated[list[str] | None, typer.Option(help="A plugin the run needs.")] = None,
    device: Annotated[Device, typer.Option(help="Where to compute.")] = Device.auto,
) -> None:
    """Sample images of prompts from a trained run: PNG files and a labelled grid."""
    from t2ikit.runs.open import open_run
    from t2ikit.sampling.outputs import check_output
    from t2ikit.sampling.sample import read_prompts, sample

    wanted = read_prompts(prompt or [], prompts)
    opened = open_run(run)
    check_output(opened, out)  # before anything is computed
    samples = sample(
        opened,
        wanted,
        n=n,
        steps=steps,
        guidance=guidance,
        sampler=sampler,
        set=settings,
        upscale=upscale or (),
        weights=weights.value,
        checkpoint=checkpoint,
        seed=seed,
        device=device.value,
        plugins=plugin or (),
    )
    print_result([("grid", samples.save(out))])
