"""Names and addresses that a page on this machine answers to."""

from __future__ import annotations

import ipaddress
import re
import socket


def is_expected(host: str | None, bound: str) -> bool:
    """Whether a request's Host header names this server, and not a site whose name was pointed at it.

    A page of such a site could read all answers ("DNS rebinding"). An attack needs a name, so where the
    server listens beyond this machine, addresses are accepted too. The port may be another: a tunnel's.

    Args:
        host: the header.
        bound: the name or address that the server was told to listen on.
    """
    found = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]]+)(?::[0-9]*)?", host or "")
    if not found:
        return False
    name = found[1].strip("[]").lower().rstrip(".")
    if name in ("localhost", bound.lower()):
        return True
    address = _address(name)
    if is_local(bound):
        return address is not None and address.is_loopback
    return address is not None or name == socket.gethostname().lower()


def is_local(host: str) -> bool:
    """Whether only this machine reaches a server that listens on this name or address."""
    address = _address(host)
    return host.lower() == "localhost" or (address is not None and address.is_loopback)


def page_url(host: str, port: int) -> str:
    """Where a browser on this machine finds a page that listens on a name or address."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def family_of(host: str) -> socket.AddressFamily:
    """The kind of address that a server listens on."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
