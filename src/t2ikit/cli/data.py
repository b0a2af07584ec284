"""`t2ikit data`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from t2ikit.cli.output import echo, print_result, print_rows
from t2ikit.utils.console import Verbosity, verbosity
from t2ikit.utils.progress import phase


def command(
    spec: Annotated[str, typer.Argument(help="A dataset, as for `t2ikit train --data`.")],
    out: Annotated[Path, typer.Option(help="Image file of the contact sheet.")] = Path("contact-sheet.png"),
    n: Annotated[int, typer.Option("-n", min=1, max=600, help="Images on the contact sheet.")] = 36,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="data.KEY=VALUE; may be repeated.")
    ] = None,
    plugin: Annotated[list[str] | None, typer.Option(help="A plugin that provides the dataset.")] = None,
) -> None:
    """Summarise a dataset, list its problems, and write a contact sheet."""
    from t2ikit.data.survey import sheet, survey
    from t2ikit.recipes.datasets import open_dataset
    from t2ikit.registry.registry import Registry
    from t2ikit.text.builtin import default_encoder
    from t2ikit.utils.files import check_image, save_image

    check_image(out, "--out")
    dataset = open_dataset(Registry.load(plugin or []), spec, settings or [])
    with phase("looking at the data"):
        found = survey(dataset, default_encoder())
    with phase("drawing the contact sheet"):
        save_image(sheet(dataset, min(n, dataset.size("train"))), out)
    if verbosity() > Verbosity.quiet:
        print_rows(["", spec], found.rows)
    print_result([("contact sheet", out)])
    if verbosity() > Verbosity.quiet:
        for problem in found.problems:
            echo(f"\nskipped: {problem}")
