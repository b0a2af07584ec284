"""Debian's Chromium without a window, and pages of this machine for it to open."""

from __future__ import annotations

import base64
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

REQUIRED = os.environ.get("T2IKIT_BROWSER") == "required"
WAIT = 60_000
"""Milliseconds that a machine with much else to do may take for anything."""


@contextmanager
def open_browser() -> Iterator[Any]:
    """Chromium; where there is none the test is skipped, or fails if T2IKIT_BROWSER=required."""
    program = shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        program = None
    if program is None:
        why = "there is no browser: `apt-get install chromium` and `pip install playwright`"
        pytest.fail(why) if REQUIRED else pytest.skip(why)
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=program, args=options)
        yield browser
        browser.close()


class Tab:
    """A page in a context of its own, with what it asked the network for and what went wrong.

    Args:
        browser: to open it in.
        url: to open.
        width, height: of the window.
    """

    def __init__(self, browser: Any, url: str, width: int = 1280, height: int = 900) -> None:
        self.url, self.requests, self.wrong = url, [], []
        self.context = browser.new_context(viewport={"width": width, "height": height})
        self.page = self.context.new_page()
        self.page.set_default_timeout(WAIT)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("dialog", self._dialog)
        self.page.on("console", self._console)
        self.page.goto(url)

    def _dialog(self, dialog: Any) -> None:
        self.wrong.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _console(self, message: Any) -> None:
        if message.type == "error":
            self.wrong.append(message.text)

    def check(self) -> None:
        """Nothing was asked for elsewhere, and nothing went wrong."""
        assert [url for url in self.requests if not url.startswith((self.url, "data:", "blob:"))] == []
        assert self.wrong == []

    def close(self) -> None:
        self.check()
        self.context.close()


def until(condition, seconds: float = WAIT / 1000, what: str = "it") -> Any:
    """What a condition gives as soon as it is true."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"waited {seconds:g} s for {what}"
        time.sleep(0.02)
    return found


def decoded(address: str) -> bytes:
    """What a data URL of a PNG holds."""
    found = re.fullmatch(r"data:image/png;base64,(.+)", address)
    assert found, address[:80]
    return base64.b64decode(found[1])


@contextmanager
def in_thread(target) -> Iterator[threading.Thread]:
    """Run a function in a thread, which must end after the block."""
    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    yield thread
    thread.join(WAIT / 1000)
    assert not thread.is_alive()
