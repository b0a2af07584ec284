"""`t2ikit watch`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from t2ikit.cli.output import print_result


def command(
    runs: Annotated[
        list[Path] | None, typer.Argument(help="Run folders, or folders of runs. Default: `runs`.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port to listen on. Default: the first free one from 8421 on."),
    ] = None,
    host: Annotated[
        str,
        typer.Option(help="Address to listen on. With 0.0.0.0, whoever reaches this machine sees the page."),
    ] = "127.0.0.1",
    open_browser: Annotated[bool, typer.Option("--open", help="Also open the page in a browser.")] = False,
) -> None:
    """Follow runs in a browser: losses, learning rates, speed, memory and samples, several runs at once.

    It reads the run folders alone, whether a run trains now, was stopped or is done. Ctrl-C ends it.
    """
    from t2ikit.watching.server import start_server
    from t2ikit.watching.watched import WatchedRuns

    server = start_server(WatchedRuns(runs or [Path("runs")]), host, port)
    print_result([("page", server.url)])
    sys.stdout.flush()  # whoever reads a pipe wants it now
    server.run(open_browser=open_browser)
