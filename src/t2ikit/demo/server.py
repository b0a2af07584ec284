"""Serves the page: on this machine unless told otherwise, and with nothing loaded from elsewhere."""

from __future__ import annotations

import os
import socket
import tempfile
import webbrowser
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from t2ikit.demo.library import WHAT, import_gradio
from t2ikit.demo.models import DemoModel
from t2ikit.demo.page import Page
from t2ikit.utils.console import log
from t2ikit.utils.extras import import_extra
from t2ikit.utils.serving.hosts import family_of, is_expected, is_local, page_url
from t2ikit.utils.serving.ports import bind_port

PORT = 7860
"""The port that is tried first where none is asked for: gradio's."""
UPLOAD = "30mb"
"""Most of one file."""
STYLE = Path(__file__).with_name("demo.css")
FONTS = ("system-ui", "sans-serif")
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self'; worker-src 'self' blob:; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Sent with every answer: a browser loads nothing from elsewhere, whatever gradio's page asks for."""
FOREIGN = b"this server answers to its own address alone: open the one that `t2ikit demo` printed\n"
ASGI = Callable[[Any, Any, Any], Awaitable[None]]


class Guard:
    """Answers requests under this server's own name alone, and adds `HEADERS`.

    Args:
        app: the page.
        host: name or address that the server was told to listen on.
    """

    def __init__(self, app: ASGI, host: str) -> None:
        self.app, self.host = app, host

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}

        async def send_guarded(event: Any) -> None:
            if event["type"] == "http.response.start":
                event = {**event, "headers": [*event.get("headers", ()), *ENCODED]}
            await send(event)

        foreign = headers.get("sec-fetch-site") == "cross-site" and scope["method"] != "GET"
        if foreign or not is_expected(headers.get("host"), self.host):
            await send_guarded({"type": "http.response.start", "status": 421, "headers": []})
            await send({"type": "http.response.body", "body": FOREIGN})
        else:
            await self.app(scope, receive, send_guarded)


ENCODED = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]


def make_app(models: Sequence[DemoModel], host: str, uploads: Path, waiting: int) -> ASGI:
    """The page of some models as an ASGI application.

    Args:
        models: to choose from.
        host: name or address that it will be reached by.
        uploads: the folder for what is uploaded.
        waiting: requests that may wait.
    """
    os.environ["GRADIO_TEMP_DIR"] = str(uploads)
    gr = import_gradio()
    fastapi = import_extra("fastapi", "demo", WHAT)
    app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    gr.mount_gradio_app(
        app,
        Page(models, waiting, uploads).blocks(),
        path="/",
        server_name=host,
        footer_links=[],
        run_history=False,
        max_file_size=UPLOAD,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=gr.themes.Default(font=list(FONTS), font_mono=["ui-monospace", "monospace"]),
        css_paths=[STYLE],
    )
    return Guard(app, host)


def listen(host: str, port: int | None = None) -> socket.socket:
    """A socket that listens.

    Args:
        host: name or address.
        port: None takes the first free one from PORT on; 0 any that is free.

    Raises:
        UserError: the port is taken or may not be used, or there is no such address.
    """

    def bind(one: int) -> socket.socket:
        found = socket.socket(family_of(host))
        try:
            if os.name == "posix":  # elsewhere two servers could share a port
                found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind((host, one))
            found.listen(128)
        except BaseException:
            found.close()
            raise
        return found

    return bind_port(bind, host, port, PORT)


def url_of(host: str, listening: socket.socket) -> str:
    """Where a browser on this machine finds the page."""
    return page_url(host, listening.getsockname()[1])


def make_server(app: ASGI) -> Any:
    """A server of uvicorn for the page; its `run` takes the socket."""
    uvicorn = import_extra("uvicorn", "demo", WHAT)
    options: dict[str, Any] = {"log_level": "warning", "access_log": False, "server_header": False}
    return uvicorn.Server(uvicorn.Config(app, timeout_graceful_shutdown=1, **options))


def serve(
    models: Sequence[DemoModel], host: str, listening: socket.socket, waiting: int, *, open_browser: bool
) -> None:
    """Answer until Ctrl-C; what was uploaded goes with the server."""
    with tempfile.TemporaryDirectory(prefix="t2ikit-demo-") as folder:
        server = make_server(make_app(models, host, Path(folder), waiting))
        if not is_local(host):
            log(f"whoever reaches this machine at port {listening.getsockname()[1]} can use this page")
        log("Ctrl-C ends it")
        if open_browser:
            webbrowser.open(url_of(host, listening))
        try:
            server.run(sockets=[listening])
        except KeyboardInterrupt:
            log("the page is closed")
