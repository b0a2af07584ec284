"""The server of the page: the standard library's, for this machine alone unless told otherwise."""

from __future__ import annotations

import os
import socketserver
import sys
import webbrowser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from t2ikit.utils.console import detail, log
from t2ikit.utils.serving.hosts import family_of, is_expected, is_local, page_url
from t2ikit.utils.serving.ports import bind_port
from t2ikit.watching.answers import HEADERS, Answer, Answers
from t2ikit.watching.watched import WatchedRuns

PORT = 8421
"""The port that is tried first where none is asked for."""
FOREIGN = Answer(
    421, b"this server answers to its own address alone: open the one that `t2ikit watch` printed\n"
)


class WatchServer(ThreadingHTTPServer):
    """Serves the page of some runs.

    Args:
        runs: to watch.
        host: name or address to listen on.
        port: to listen on; 0 takes any that is free.

    Raises:
        OSError: the port is taken, or there is no such address.
    """

    daemon_threads = True
    allow_reuse_address = os.name == "posix"  # elsewhere two servers could share a port
    request_queue_size = 64

    def __init__(self, runs: WatchedRuns, host: str = "127.0.0.1", port: int = 0) -> None:
        self.host, self.answers = host, Answers(runs)
        self.address_family = family_of(host)
        super().__init__((host, port), Handler)

    def server_bind(self) -> None:
        """Without asking a name server what this machine is called."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.host, self.server_address[1]

    @property
    def url(self) -> str:
        """Where a browser on this machine finds the page."""
        return page_url(self.host, self.server_port)

    def run(self, *, open_browser: bool = False) -> None:
        """Answer until Ctrl-C."""
        if not is_local(self.host):
            log(f"whoever reaches this machine at port {self.server_port} can see these runs")
        if open_browser:
            webbrowser.open(self.url)
        log("Ctrl-C ends it")
        try:
            self.serve_forever()
        except KeyboardInterrupt:
            log("no longer watching; the runs are as they were")
        finally:
            self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that hangs up is none."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection: GET and HEAD of what `Answers` knows."""

    server: WatchServer
    protocol_version = "HTTP/1.1"
    timeout = 60
    """Seconds after which a silent connection is closed."""

    def do_GET(self) -> None:
        """Answer with a body."""
        self._send(self._answer(), body=True)

    def do_HEAD(self) -> None:
        """Answer without it."""
        self._send(self._answer(), body=False)

    def _answer(self) -> Answer:
        if not is_expected(self.headers.get("Host"), self.server.host):
            return FOREIGN
        return self.server.answers.answer(self.path)

    def _send(self, answer: Answer, *, body: bool) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.content)))
        self.send_header("Cache-Control", "private, max-age=86400, immutable" if answer.kept else "no-store")
        self.end_headers()
        if body:
            self.wfile.write(answer.content)

    def end_headers(self) -> None:
        """With those that every answer has, errors too."""
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def version_string(self) -> str:
        """What is told of the server: not which Python it is."""
        return "t2ikit"

    def log_message(self, format: str, *values: Any) -> None:
        """A request, with `--verbose`."""
        detail(format % values)


def start_server(runs: WatchedRuns, host: str, port: int | None = None) -> WatchServer:
    """A server that listens; `serve_forever` answers.

    Args:
        runs: to watch.
        host: name or address to listen on.
        port: to listen on; None takes the first free one from PORT on.

    Raises:
        UserError: the port is taken or may not be used, or there is no such address.
    """
    return bind_port(lambda one: WatchServer(runs, host, one), host, port, PORT)
