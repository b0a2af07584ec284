"""`t2ikit compare`."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated

import typer

from t2ikit.cli.evaluate import split_names
from t2ikit.cli.train import Device


def command(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, two or more.")],
    out: Annotated[Path, typer.Option(help="The HTML file.")],
    prompts: Annotated[Path | None, typer.Option(help="A file of prompts to draw, one a line.")] = None,
    data: Annotated[str | None, typer.Option(help="Prompts of other data than the runs'.")] = None,
    metrics: Annotated[str | None, typer.Option(help="As in t2ikit evaluate.")] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="Number of prompts that are measured.")] = 256,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="metrics.NAME.KEY=VALUE; repeatable.")
    ] = None,
    seed: Annotated[int, typer.Option(help="What prompts and noise are drawn from.")] = 0,
    plugin: Annotated[list[str] | None, typer.Option(help="A plugin a run or a metric needs.")] = None,
    device: Annotated[Device, typer.Option(help="Where to compute.")] = Device.auto,
) -> None:
    """Compare trained runs in one HTML file that opens from disk."""
    from t2ikit.comparing import compare
    from t2ikit.evaluating import Question
    from t2ikit.files import write_report
    from t2ikit.report import render
    from t2ikit.sampling.sample import read_prompts

    check_out(out)
    question = Question(
        data=data,
        metrics=() if metrics is None else split_names(metrics),
        n=n,
        seed=seed,
        settings=settings or [],
    )
    shown = [] if prompts is None else read_prompts([], prompts)
    say = functools.partial(typer.echo, err=True)
    compared = compare(runs, question, shown, plugins=plugin or [], device=device.value, say=say)
    write_report(render(compared), out)
    typer.echo(f"report: {out}")


def check_out(out: Path) -> None:
    """Refuse a report that cannot be written, before anything is measured.

    Raises:
        UserError: its folder is missing or cannot be written, or it is a folder itself.
    """
    from t2ikit.errors import UserError
    from t2ikit.files import check_target

    try:
        check_target(out, "--out")
        beside = out.with_name(f".{out.name}.writing")  # where it will be written
        beside.touch()
        beside.unlink()
    except OSError as error:
        raise UserError(
            f"--out {out}: the file cannot be written",
            expected="a path in a folder in which files can be written",
            got=error,
            fix="choose another path, or make the folder writable",
        ) from error
