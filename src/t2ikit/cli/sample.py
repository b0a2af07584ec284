"""`t2ikit sample`."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from t2ikit.cli.command import A_RUN
from t2ikit.cli.output import print_result
from t2ikit.cli.train import Device


class Weights(str, Enum):
    """Which weights to use."""

    ema = "ema"
    raw = "raw"


Steps = Annotated[int | None, typer.Option(min=1, help="Sampler steps.")]
SamplerName = Annotated[
    str | None, typer.Option(help="Another sampler; it keeps the other sampler options, except steps.")
]
WeightsName = Annotated[Weights, typer.Option(help="EMA or raw weights.")]
Checkpoint = Annotated[int | None, typer.Option(min=0, help="Step of the checkpoint. Default: the newest.")]

Ema = Annotated[
    float | None,
    typer.Option(help="Length of the EMA, a share of the training: 0.1 (needs train.ema_snapshots)."),
]

Prompt = Annotated[list[str] | None, typer.Argument(help='Captions; "" samples without one.')]
Prompts = Annotated[
    Path | None, typer.Option(help="A text file with one caption per line; blank lines are skipped.")
]
Guidance = Annotated[
    list[float] | None, typer.Option(help="Guidance weight; may be repeated, one column for each.")
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="sampler.KEY=VALUE, upscale.KEY=VALUE; may be repeated.")
]
Upscale = Annotated[
    list[Path] | None, typer.Option(help="A super-resolution run that upscales the images; may be repeated.")
]
Start = Annotated[
    Path | None, typer.Option(help="Begin at this image, on white where it is transparent, not at noise.")
]
Mask = Annotated[
    Path | None, typer.Option(help="Repaint --image where this image is white, and keep it elsewhere.")
]
Strength = Annotated[
    float | None,
    typer.Option(help="Share of the steps that change --image, 0 to 1. Default: 0.8, with --mask 1."),
]
Aspect = Annotated[
    str | None,
    typer.Option(help="Width to height of the images, such as 3:2, for a denoiser. Default: squares."),
]
Negative = Annotated[str, typer.Option(help="What guidance leads away from, in place of the empty caption.")]
Out = Annotated[
    Path | None,
    typer.Option(help="Folder for the images. Default: RUN/outputs/001; for an export, ./outputs/001."),
]


def command(
    run: Annotated[Path, typer.Argument(help=A_RUN)],
    prompt: Prompt = None,
    prompts: Prompts = None,
    n: Annotated[int, typer.Option("-n", min=1, help="Images per prompt.")] = 4,
    steps: Steps = None,
    guidance: Guidance = None,
    sampler: SamplerName = None,
    settings: Settings = None,
    image: Start = None,
    mask: Mask = None,
    strength: Strength = None,
    negative: Negative = "",
    aspect: Aspect = None,
    upscale: Upscale = None,
    weights: WeightsName = Weights.ema,
    checkpoint: Checkpoint = None,
    ema: Ema = None,
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 0,
    out: Out = None,
    plugin: Annotated[list[str] | None, typer.Option(help="A plugin that the run needs.")] = None,
    device: Annotated[Device, typer.Option(help="Device to compute on.")] = Device.auto,
) -> None:
    """Sample images from a trained run; write PNG files and a labelled grid."""
    from t2ikit.core.shapes import checked_aspect
    from t2ikit.runs.open import open_run
    from t2ikit.sampling.outputs import check_output
    from t2ikit.sampling.sample import read_prompts, sample

    how: dict[str, Any] = {"image": image, "mask_image": mask, "strength": strength}
    how |= {"aspect": checked_aspect(aspect), "checkpoint": checkpoint, "ema": ema, "seed": seed}
    wanted, opened = read_prompts(prompt or [], prompts), open_run(run)
    check_output(opened, out)  # before anything is computed
    samples = sample(
        opened,
        wanted,
        n=n,
        steps=steps,
        guidance=guidance,
        sampler=sampler,
        set=settings,
        negative_prompt=negative,
        upscale=upscale or (),
        weights=weights.value,
        device=device.value,
        plugins=plugin or (),
        **how,
    )
    print_result([("grid", samples.save(out))])
