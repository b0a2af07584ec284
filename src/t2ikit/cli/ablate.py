"""`t2ikit ablate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from t2ikit.cli.output import echo, print_command, print_result
from t2ikit.cli.train import Data, Device
from t2ikit.errors import as_word

Target = Annotated[str | None, typer.Argument(help="A plugin whose losses are tested: its file or name.")]
Plugins = Annotated[
    list[str] | None, typer.Option(help="Train its default recipe; may be repeated. Default: all plugins.")
]
Recipes = Annotated[
    list[str] | None, typer.Option(help="Train this in place of default recipes; may be repeated.")
]
Tested = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=A,B,...", help="Test these values; may be repeated.")
]
Base = Annotated[
    list[str] | None, typer.Option(metavar="KEY=VALUE", help="A setting of all runs; may be repeated.")
]
Seeds = Annotated[
    str | None,
    typer.Option(metavar="N|A,B,...", help="How many seeds, from 0; or which, as 3,4,5. Default: 3."),
]
TrainingSteps = Annotated[int | None, typer.Option(min=1, help="Sets train.steps of each run. Default: 200.")]
Prompts = Annotated[
    int | None, typer.Option("-n", min=1, help="Number of prompts of each evaluation. Default: 256.")
]
Resume = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="Go on with this ablation, in place of all else.")
]


def command(
    target: Target = None,
    plugin: Plugins = None,
    recipe: Recipes = None,
    settings: Tested = None,
    base: Base = None,
    data: Data = None,
    seeds: Seeds = None,
    steps: TrainingSteps = None,
    n: Prompts = None,
    metrics: Annotated[str | None, typer.Option(help="Metrics, as for t2ikit evaluate.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder. Default: runs/ablate-001.")] = None,
    resume: Resume = None,
    device: Annotated[Device, typer.Option(help="Device to compute on.")] = Device.auto,
) -> None:
    """Say whether a loss, a part or a setting helps, by pairs of training runs.

    The runs of a pair differ in what is tested alone: they share seed, initial weights, order of data, noise
    and prompts. Finished runs are kept; the same command goes on where it was stopped.
    """
    from t2ikit.ablation.ablate import ablate, read_seeds

    found = ablate(
        target,
        plugin=plugin or (),
        recipe=recipe or (),
        set=settings,
        base=base,
        data=data or (),
        seeds=None if seeds is None else read_seeds(seeds),
        steps=steps,
        n=n,
        metrics=metrics or (),
        out=out,
        resume=resume,
        device=device.value,
    )
    if not found.finished:
        words = ["t2ikit", "ablate", "--resume", as_word(found.folder)]
        print_command("stopped and saved; go on with:", words)
        raise typer.Exit(1)
    echo(found.text())
    print_result([("report", found.folder / "report.html")])
