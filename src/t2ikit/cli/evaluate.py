"""`t2ikit evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from t2ikit.cli.command import A_RUN
from t2ikit.cli.output import echo, print_error
from t2ikit.cli.sample import Checkpoint, SamplerName, Steps, Weights, WeightsName
from t2ikit.cli.train import Device

if TYPE_CHECKING:
    from t2ikit.evaluation.results import EvaluationResult
    from t2ikit.evaluation.sweeps import Sweep


Images = Annotated[
    Path | None, typer.Option(help="Instead of a run, measure the images of this folder; needs --data.")
]
Data = Annotated[
    list[str] | None,
    typer.Option(
        help="Take the prompts from this dataset, not the run's own; may be repeated, to mix them: "
        "--set data.weights=[3,1]."
    ),
]
Metrics = Annotated[
    str | None,
    typer.Option(
        help="Names separated by commas, or all; these may download files. "
        "Default: every metric that needs no download."
    ),
]
Lengths = Annotated[
    str | None,
    typer.Option(
        help="Length of the EMA, a share of the training: 0.1, or several to evaluate each: 0.05,0.1 "
        "(needs train.ema_snapshots)."
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="sampler.KEY=VALUE, metrics.NAME.KEY=VALUE; may be repeated."),
]
Sweeps = Annotated[
    list[str] | None,
    typer.Option(help="Sampler option KEY=VALUE,VALUE,...; may be repeated for all combinations."),
]


def command(
    run: Annotated[Path | None, typer.Argument(help=A_RUN)] = None,
    images: Images = None,
    data: Data = None,
    metrics: Metrics = None,
    n: Annotated[int, typer.Option("-n", min=1, help="Number of prompts, one image for each.")] = 256,
    steps: Steps = None,
    guidance: Annotated[float | None, typer.Option(help="Guidance weight.")] = None,
    sampler: SamplerName = None,
    settings: Settings = None,
    weights: WeightsName = Weights.ema,
    checkpoint: Checkpoint = None,
    ema: Lengths = None,
    seed: Annotated[int, typer.Option(help="Seed of prompts and noise.")] = 0,
    sweep: Sweeps = None,
    json: Annotated[Path | None, typer.Option(help="Also write the numbers to this file.")] = None,
    plugin: Annotated[list[str] | None, typer.Option(help="A plugin that the run or a metric needs.")] = None,
    device: Annotated[Device, typer.Option(help="Device to compute on.")] = Device.auto,
) -> None:
    """Evaluate a trained run on held-out prompts, or a folder of images.

    The exit status is 1 if a metric fails; the other metrics are still computed and written.
    """
    from t2ikit.evaluation.functions import evaluate
    from t2ikit.evaluation.functions import sweep as evaluate_each
    from t2ikit.evaluation.lengths import read_lengths
    from t2ikit.utils.files import check_target

    if json is not None:
        check_target(json)
    options: dict[str, Any] = {
        "data": data or None,
        "metrics": () if metrics is None else metrics,
        "n": n,
        "seed": seed,
        "steps": steps,
        "guidance": guidance,
        "sampler": sampler,
        "set": settings,
        "weights": weights.value,
        "checkpoint": checkpoint,
        "plugins": plugin or [],
        "device": device.value,
    }
    lengths = [] if ema is None else read_lengths(ema)
    options["ema"] = lengths[0] if len(lengths) == 1 else None
    axes = [*([f"ema={ema}"] if len(lengths) > 1 else []), *(sweep or [])]
    report(evaluate_each(run, axes, **options) if axes else evaluate(run, images=images, **options), json)


def report(found: EvaluationResult | Sweep, json: Path | None) -> None:
    """Print and write the numbers; exit with status 1 if a metric failed."""
    from t2ikit.utils.files import write_numbers

    echo(found.text())
    if json is not None:
        write_numbers(found.table(), json)
    if found.failed:
        failed = ", ".join(found.failed)
        print_error(f"failed: {failed}; everything else was measured and written")
        raise typer.Exit(1)
