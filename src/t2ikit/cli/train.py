"""`t2ikit train`."""

from __future__ import annotations

import shlex
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from t2ikit.cli.output import print_command, print_result
from t2ikit.errors import UserError


class Device(str, Enum):
    """Where to compute."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


def command(
    plugin: Annotated[
        list[str] | None, typer.Option(help="A plugin's name, or ./file.py; may be repeated.")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="A recipe's name or TOML file; else the plugin's default.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="creatures, openmoji, FOLDER, FILE.parquet, hf:OWNER/NAME, wds:SHARDS.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE laid over the recipe; may be repeated.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The new run folder; else runs/NAME-001.")] = None,
    seed: Annotated[int | None, typer.Option(help="Sets train.seed.")] = None,
    device: Annotated[Device, typer.Option(help="Where to compute.")] = Device.auto,
    resume: Annotated[Path | None, typer.Option(help="Go on with this run folder.")] = None,
) -> None:
    """Train a model from a recipe, or go on with a run."""
    _check_options(resume, recipe=recipe, data=data, out=out, seed=seed)
    from t2ikit.recipe import read_recipe
    from t2ikit.registry import Registry

    registry = Registry.load(plugin or [])
    overlays = [*(settings or []), *([] if seed is None else [f"train.seed={seed}"])]
    if resume is not None:
        from t2ikit.training import resume_run

        outcome = resume_run(registry, resume, settings=overlays, device=device.value)
    else:
        chosen = read_recipe(registry, recipe, data=data, settings=overlays)
        from t2ikit.training import start_run

        outcome = start_run(registry, chosen, out, device=device.value)
    path = outcome.run.path
    if not outcome.finished:
        print_command("stopped and saved; go on with:", ["t2ikit", "train", "--resume", str(path)])
        raise typer.Exit(1)
    grids = sorted((path / "samples").glob("step-*.png"))
    base = "BASE --upscale " if outcome.enlarges else ""
    print_result(
        [
            ("run", path),
            ("grid", grids[-1]),
            ("losses", path / "losses.png"),
            ("sample", f't2ikit sample {base}{shlex.quote(str(path))} "a prompt"'),
        ]
    )


def _check_options(resume: Path | None, **others: object) -> None:
    given = [f"--{name}" for name, value in others.items() if value is not None]
    if resume is not None and given:
        raise UserError(
            f"--resume does not go with {', '.join(given)}",
            expected="--resume RUN alone, or with --plugin, --device and --set train.*",
            got=" ".join(["--resume", *given]),
            fix="leave them out: a run goes on with the recipe it began with",
        )
