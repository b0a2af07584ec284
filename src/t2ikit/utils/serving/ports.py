"""The port that a page listens on: the one asked for, or the first that is free."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import TypeVar

from t2ikit.errors import UserError
from t2ikit.utils.serving.hosts import family_of

TRIED = 20
"""Ports of which the first free one is taken where none is asked for."""
Bound = TypeVar("Bound")


def bind_port(bind: Callable[[int], Bound], host: str, port: int | None, first: int) -> Bound:
    """What `bind` makes of a port.

    Args:
        bind: listens on a port, and raises OSError where it cannot.
        host: the name or address that it listens on, for messages.
        port: to listen on; None takes the first free one of TRIED.
        first: the port that those begin at.

    Raises:
        UserError: the port is taken or may not be used, or there is no such address.
    """
    for one in range(first, first + TRIED) if port is None else [port]:
        try:
            return bind(one)
        except (socket.gaierror, UnicodeError) as error:
            raise _no_such_host(host, error) from error
        except OSError as error:
            if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                raise _no_such_host(host, error) from error
            refusal = error
    raise _no_port(host, port, first, refusal) from refusal


def _no_such_host(host: str, error: OSError | UnicodeError) -> UserError:
    return UserError(
        f"--host {host}: this machine has no such address",
        expected="an address of this machine, such as 127.0.0.1, or 0.0.0.0 for all of them",
        got=getattr(error, "strerror", None) or error,
        fix="leave it out for this machine alone",
    )


def _no_port(host: str, port: int | None, first: int, error: OSError) -> UserError:
    taken = error.errno == errno.EADDRINUSE
    with socket.socket(family_of(host)) as other:
        other.bind((host, 0))
        free = other.getsockname()[1]
    return UserError(
        f"--port {port}: another program has it"
        if taken and port
        else f"port {port or first} cannot be used",
        expected="a free port" if port else f"a free port from {first} to {first + TRIED - 1}",
        got=error.strerror or error,
        fix=f"`--port {free}` is free; without --port t2ikit looks for one",
    )
