"""Files over http(s), fetched again from where they stopped when the connection fails."""

from __future__ import annotations

import http.client
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from t2ikit.errors import UserError
from t2ikit.utils.quoting import one_line

T = TypeVar("T")
WAITS = (1.0, 2.0, 4.0, 8.0)
"""Seconds before each further try."""
SECONDS = 30.0
"""How long a server may say nothing."""
PASSING = (408, 425, 429, 500, 502, 503, 504)
"""Statuses of a server that may answer otherwise later."""


class Unreachable(UserError):
    """A server that gives nothing for now: the run ends, and can be resumed later."""


def retried(fetch: Callable[[], T], passing: Callable[[Exception], bool]) -> T:
    """What `fetch` returns, tried again after each of `WAITS`.

    Raises:
        Exception: as `fetch` raised it, where it is not `passing` or was the last try.
    """
    for wait in WAITS:
        try:
            return fetch()
        except Exception as error:
            if not passing(error):
                raise
        time.sleep(wait)
    return fetch()


def may_pass(error: Exception) -> bool:
    """Whether another try may succeed: the server is busy or silent, or the connection broke."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code in PASSING
    return isinstance(error, (OSError, http.client.HTTPException))


def download(url: str, path: Path) -> None:
    """Fetch http(s) `url` to a file, with several tries.

    Raises:
        Unreachable: the server gave nothing, or not all of it, at any try.
        UserError: it has nothing there.
    """
    partial = _Partial(url, path)
    try:
        retried(partial.go_on, may_pass)
    except (OSError, ValueError, http.client.HTTPException) as error:
        kind = Unreachable if may_pass(error) else UserError
        raise kind(
            f"{url} cannot be fetched",
            expected="a file there",
            got=one_line(error, 160),
            fix=f"it was tried {len(WAITS) + 1} times: check the connection, then resume the run"
            if kind is Unreachable
            else "check the address",
        ) from error


class _Partial:
    """A file that is fetched in as many pieces as it takes.

    Args:
        url, path: from where to where.
    """

    def __init__(self, url: str, path: Path) -> None:
        self.url, self.path, self.version = url, path, ""
        path.unlink(missing_ok=True)

    def go_on(self) -> None:
        """Fetch what is missing.

        Raises:
            OSError, http.client.HTTPException: it is not whole yet.
        """
        have = self.path.stat().st_size if self.path.exists() and self.version else 0
        headers = {"User-Agent": "t2ikit"}
        if have:
            headers |= {"Range": f"bytes={have}-", "If-Range": self.version}
        request = urllib.request.Request(self.url, headers=headers)
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            goes_on = answer.status == http.HTTPStatus.PARTIAL_CONTENT
            start = have if goes_on else 0
            self.version = answer.headers.get("ETag", "")
            length = answer.headers.get("Content-Length")
            with self.path.open("ab" if goes_on else "wb") as file:
                shutil.copyfileobj(answer, file)
        got = self.path.stat().st_size - start
        if length is not None and got < int(length):
            raise ConnectionError(f"the connection ended after {got} of {length} bytes")
