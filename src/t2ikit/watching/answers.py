"""What the server answers: the page's own files, and the numbers and grids of the watched runs."""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from t2ikit.watching.watched import WatchedRun, WatchedRuns

PAGE = Path(__file__).with_name("page")
FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/watch.css": ("watch.css", "text/css; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    **{
        f"/{name}.js": (f"{name}.js", "text/javascript; charset=utf-8")
        for name in ("watch", "data", "chart", "samples")
    },
}
"""The page's files by path: no other file of the package can be asked for."""
LOG = re.compile(r"/log/([0-9]{1,6})")
GRID = re.compile(r"/grid/([0-9]{1,6})/([0-9]{1,15})\.png")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""Sent with every answer: nothing is loaded from elsewhere, and nothing of this is shown elsewhere."""


@dataclass(frozen=True)
class Answer:
    """Of one request.

    Attributes:
        status: of HTTP.
        content: the body.
        kind: its media type.
        kept: a browser may keep it, because its address names its version.
    """

    status: int
    content: bytes
    kind: str = "text/plain; charset=utf-8"
    kept: bool = False


class Answers:
    """Answers requests for the page.

    Args:
        watched: the runs; their numbers are in the addresses, their paths never.
    """

    def __init__(self, watched: WatchedRuns) -> None:
        self._watched = watched
        self._session = secrets.token_hex(8)  # a page that is still open from an earlier server loads anew

    def answer(self, target: str) -> Answer:
        """What a path with its query is answered with; 404 for all that is not listed here."""
        try:
            parts = urlsplit(target)
        except ValueError:
            return _missing()
        if parts.path in FILES:
            name, kind = FILES[parts.path]
            return Answer(200, page_file(name), kind)
        if parts.path == "/state":
            return _json({"session": self._session, "runs": [run.state() for run in self._watched.look()]})
        if (found := LOG.fullmatch(parts.path)) and (run := self._run(found[1])):
            query = parse_qs(parts.query)
            return _json(run.log(_whole(query, "generation"), _whole(query, "row")))
        if (found := GRID.fullmatch(parts.path)) and (run := self._run(found[1])):
            image = run.grid(int(found[2]))
            return _missing() if image is None else Answer(200, image, "image/png", kept=True)
        return _missing()

    def _run(self, number: str) -> WatchedRun | None:
        runs = self._watched.runs
        return runs[int(number)] if int(number) < len(runs) else None


@cache
def page_file(name: str) -> bytes:
    """A file of the page."""
    return (PAGE / name).read_bytes()


def _whole(query: dict[str, list[str]], key: str) -> int:
    """A number of a query; -1 where there is none, which fits no log."""
    text = query.get(key, [""])[0]
    return int(text) if re.fullmatch(r"[0-9]{1,15}", text) else -1


def _json(value: Any) -> Answer:
    content = json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
    return Answer(200, content, "application/json")


def _missing() -> Answer:
    return Answer(404, b"there is nothing here\n")
