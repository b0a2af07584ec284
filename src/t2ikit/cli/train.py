"""`t2ikit train`."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from t2ikit.cli.output import echo, print_command, print_result
from t2ikit.utils.console import log

if TYPE_CHECKING:
    from t2ikit.runs.run import Run


class Device(str, Enum):
    """Where to compute."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


Data = Annotated[
    list[str] | None,
    typer.Option(
        help="creatures, openmoji, FOLDER, FILE.parquet, FILE.csv, hf:OWNER/NAME, wds:SHARDS; may be "
        "repeated, to mix them: --set data.weights=[3,1]."
    ),
]


def command(
    plugin: Annotated[
        list[str] | None, typer.Option(help="A plugin's name or ./file.py; may be repeated.")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="A recipe's name or a TOML file. Default: the plugin's default recipe.")
    ] = None,
    data: Data = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE, overrides the recipe; may be repeated.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="New run folder. Default: runs/NAME-001.")] = None,
    seed: Annotated[int | None, typer.Option(help="Sets train.seed.")] = None,
    device: Annotated[Device, typer.Option(help="Device to compute on.")] = Device.auto,
    minutes: Annotated[
        float | None,
        typer.Option(help="Train for this many minutes instead of train.steps; then sample a last grid."),
    ] = None,
    resume: Annotated[Path | None, typer.Option(help="Resume this run.")] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", help="Fit into so much GPU memory, such as 12GB: sets micro-batch, checkpointing."
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check everything and predict memory and time; no run is written."),
    ] = False,
) -> None:
    """Train a model from a recipe, or resume a run."""
    from t2ikit.training.train import train

    options: dict[str, Any] = {"recipe": recipe, "set": settings, "out": out, "seed": seed}
    options |= {"data": data or None, "device": device.value, "minutes": minutes, "resume": resume}
    limit = nullcontext() if memory is None else _fitted(memory, plugin or [], options)
    if dry_run:
        from t2ikit.memory.dry_run import forecast_training

        with limit:
            rows = forecast_training(plugin or (), **options).rows
        for label, text in rows:
            echo(f"{label}: {text}")
        return
    with limit:
        run = train(plugin or (), **options)
    report(run)


def _fitted(memory: str, plugin: list[str], options: dict[str, Any]) -> AbstractContextManager[None]:
    """Add to the options the settings with which a training fits; what keeps it to that memory."""
    from t2ikit.memory.fit import capped, fit_training

    asked = {name: value for name, value in options.items() if name != "device"}
    fitted = fit_training(plugin, memory=memory, **asked)
    log(fitted.describe())
    options["set"] = [*(options["set"] or []), *fitted.settings]
    return capped(fitted, options["device"])


def report(run: Run) -> None:
    """Print where everything is, or how to go on.

    Raises:
        typer.Exit: the run was stopped.
    """
    from t2ikit.runs.commands import resume_words, sample_command

    if not run.finished:
        print_command("stopped and saved; go on with:", resume_words(run))
        raise typer.Exit(1)
    print_result(
        [
            ("run", run.path),
            ("grid", run.grid),
            ("losses", run.path / "losses.png"),
            ("sample", sample_command(run)),
        ]
    )
