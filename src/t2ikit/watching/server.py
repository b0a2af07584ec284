"""The server of the page: the standard library's, for this machine alone unless told otherwise."""

from __future__ import annotations

import errno
import os
import socket
import socketserver
import sys
import webbrowser
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from t2ikit.errors import UserError
from t2ikit.utils.console import detail, log
from t2ikit.watching.answers import HEADERS, Answer, Answers, is_expected, is_local
from t2ikit.watching.watched import WatchedRun

PORT = 8421
TRIED = 20
"""Ports from PORT on, of which the first free one is taken where none is asked for."""
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

    def __init__(self, runs: Sequence[WatchedRun], host: str = "127.0.0.1", port: int = 0) -> None:
        self.host, self.answers = host, Answers(runs)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), Handler)

    def server_bind(self) -> None:
        """Without asking a name server what this machine is called."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.host, self.server_address[1]

    @property
    def url(self) -> str:
        """Where a browser on this machine finds the page."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.server_port}/"

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


def start_server(runs: Sequence[WatchedRun], host: str, port: int | None = None) -> WatchServer:
    """A server that listens; `serve_forever` answers.

    Args:
        runs: to watch.
        host: name or address to listen on.
        port: to listen on; None takes the first free one of TRIED from PORT on.

    Raises:
        UserError: the port is taken or may not be used, or there is no such address.
    """
    for one in range(PORT, PORT + TRIED) if port is None else [port]:
        try:
            return WatchServer(runs, host, one)
        except (socket.gaierror, UnicodeError) as error:
            raise _no_such_host(host, error) from error
        except OSError as error:
            if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                raise _no_such_host(host, error) from error
            refusal = error
    raise _no_port(runs, host, port, refusal) from refusal


def _no_such_host(host: str, error: OSError | UnicodeError) -> UserError:
    return UserError(
        f"--host {host}: this machine has no such address",
        expected="an address of this machine, such as 127.0.0.1, or 0.0.0.0 for all of them",
        got=getattr(error, "strerror", None) or error,
        fix="leave it out for this machine alone",
    )


def _no_port(runs: Sequence[WatchedRun], host: str, port: int | None, error: OSError) -> UserError:
    taken = error.errno == errno.EADDRINUSE
    with WatchServer(runs, host, 0) as other:
        free = other.server_port
    return UserError(
        f"--port {port}: another program has it" if taken and port else f"port {port or PORT} cannot be used",
        expected="a free port" if port else f"a free port from {PORT} to {PORT + TRIED - 1}",
        got=error.strerror or error,
        fix=f"`--port {free}` is free; without --port t2ikit looks for one",
    )
