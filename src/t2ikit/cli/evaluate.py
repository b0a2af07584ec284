"""`t2ikit evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from t2ikit.cli.sample import Checkpoint, SamplerName, Weights
from t2ikit.cli.train import Device

if TYPE_CHECKING:
    from t2ikit.sweeping import Written


def command(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    data: Annotated[str | None, typer.Option(help="Prompts of other data than the run's.")] = None,
    metrics: Annotated[
        str | None, typer.Option(help="Names, separated by commas; all that are installed when left out.")
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="Number of prompts, one picture each.")] = 256,
    steps: Annotated[int | None, typer.Option(min=1, help="Sampler steps.")] = None,
    guidance: Annotated[float | None, typer.Option(help="Guidance weight.")] = None,
    sampler: SamplerName = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="sampler.KEY=VALUE, metrics.NAME.KEY=VALUE; repeatable."),
    ] = None,
    weights: Annotated[Weights, typer.Option(help="Averaged or last weights.")] = Weights.ema,
    checkpoint: Checkpoint = None,
    seed: Annotated[int, typer.Option(help="What prompts and noise are drawn from.")] = 0,
    sweep: Annotated[
        list[str] | None,
        typer.Option(help="KEY=VALUE,VALUE,... of the sampler; may be repeated: every combination."),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Also write the numbers to this file.")] = None,
    plugin: Annotated[list[str] | None, typer.Option(help="A plugin the run or a metric needs.")] = None,
    device: Annotated[Device, typer.Option(help="Where to compute.")] = Device.auto,
) -> None:
    """Measure a trained run on prompts it was not trained on.

    Exit status 1 where a metric failed; the others are measured and written all the same.
    """
    from t2ikit.evaluating import Evaluator, Question
    from t2ikit.files import check_target
    from t2ikit.sweeping import measure_and_write, parse_axes

    if json is not None:
        check_target(json)
    axes = parse_axes(sweep or [])
    question = Question(
        data=data,
        metrics=() if metrics is None else split_names(metrics),
        n=n,
        seed=seed,
        steps=steps,
        guidance=guidance,
        sampler=sampler,
        settings=settings or [],
        weights=weights.value,
        checkpoint=checkpoint,
    )
    evaluator = Evaluator(run, question, plugins=plugin or [], device=device.value)
    tell(measure_and_write(evaluator, axes), json)


def tell(written: Written, json: Path | None) -> None:
    """Print what was measured and written; exit status 1 where a metric failed."""
    from t2ikit.files import write_numbers

    typer.echo(written.text)
    if json is not None:
        write_numbers(written.table, json)
    if written.failed:
        failed = ", ".join(written.failed)
        typer.echo(f"error: failed: {failed}; everything else was measured and written", err=True)
        raise typer.Exit(1)


def split_names(text: str) -> list[str]:
    """Names separated by commas.

    Raises:
        UserError: there is none.
    """
    from t2ikit.errors import UserError

    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UserError(
            "--metrics: there is nothing to measure",
            expected="names separated by commas; `t2ikit plugins` lists them",
            got="no name",
            fix="leave --metrics out for all of them",
        )
    return names
