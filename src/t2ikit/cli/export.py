"""`t2ikit export`."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from t2ikit.cli.command import A_RUN
from t2ikit.cli.output import print_result
from t2ikit.cli.sample import Ema
from t2ikit.utils.progress import phase


class Stored(str, Enum):
    """Precisions that weights are stored in."""

    float32 = "float32"
    float16 = "float16"
    bfloat16 = "bfloat16"


def command(
    run: Annotated[Path, typer.Argument(help=A_RUN)],
    format: Annotated[str, typer.Option(help="diffusers, if, or a plugin's format.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    plugin: Annotated[
        list[str] | None, typer.Option(help="A plugin that the run or the format needs.")
    ] = None,
    ema: Ema = None,
    dtype: Annotated[
        Stored, typer.Option(help="Precision of the stored weights: float32, float16 or bfloat16.")
    ] = Stored.float32,
    push_to: Annotated[str | None, typer.Option(help="Also upload to OWNER/NAME on the Hub.")] = None,
    private: Annotated[bool, typer.Option("--private", help="Upload to a private repository.")] = False,
) -> None:
    """Export a run to a folder that other programs can open."""
    from t2ikit.exporters.export import export, push

    with phase("exporting"):
        written = export(run, format, out=out, ema=ema, dtype=dtype.value, plugins=plugin or ())
    print_result([("written", written)])
    if push_to is not None:
        with phase("uploading"):
            address = push(written, push_to, private=private)
        print_result([("uploaded", address)])
