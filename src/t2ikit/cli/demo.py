"""`t2ikit demo`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from t2ikit.cli.output import print_result
from t2ikit.cli.train import Device


def command(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Runs, exports, hf:OWNER/NAME or creatures; two are shown side by side. Default: the "
            "models that come with t2ikit."
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port to listen on. Default: the first free one from 7860 on."),
    ] = None,
    host: Annotated[
        str,
        typer.Option(help="Address to listen on. With 0.0.0.0, whoever reaches this machine uses the page."),
    ] = "127.0.0.1",
    waiting: Annotated[
        int, typer.Option(min=0, help="Requests that may wait while one is sampled; others are refused.")
    ] = 32,
    open_browser: Annotated[bool, typer.Option("--open", help="Also open the page in a browser.")] = False,
    plugin: Annotated[list[str] | None, typer.Option(help="A plugin that the runs need.")] = None,
    device: Annotated[Device, typer.Option(help="Device to compute on.")] = Device.auto,
) -> None:
    """Sample in a browser: type a prompt, watch its images form, compare two models at the same seed.

    It needs gradio, and sends nothing anywhere. Ctrl-C ends it.
    """
    from t2ikit.demo.library import import_gradio

    import_gradio()  # before the models, which import huggingface_hub
    from t2ikit.demo.models import open_models
    from t2ikit.demo.server import listen, serve, url_of

    models = open_models(runs or [], plugin or (), device.value)
    with listen(host, port) as listening:
        print_result([("page", url_of(host, listening))])
        sys.stdout.flush()  # whoever reads a pipe wants it now
        serve(models, host, listening, waiting, open_browser=open_browser)
