"""Photographs the pages of `t2ikit demo` and `t2ikit watch` for the docs, with Debian's Chromium.

    python benchmarks/pages.py demo --out numbers/demo.png
    python benchmarks/pages.py watch runs/default runs/default-seed-1 --out numbers/watching.png

It needs the package playwright and the program chromium.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

WIDTH, HEIGHTS = 1280, {"demo": 1000, "watch": 1380}
"""Pixels of the window; charts that are not on the screen are not drawn."""


def photograph_demo(page: Any) -> None:
    """Sample the prompts that are there, and wait for the second model's images."""
    page.wait_for_selector("#t2i-sample")
    page.click("#t2i-sample")
    page.wait_for_selector(".t2i-panel:last-child .t2i-save")
    page.wait_for_selector("#t2i-past button")


def photograph_watch(page: Any) -> None:
    """Wait for curves and grids."""
    page.wait_for_selector(".chart")
    page.wait_for_function("[...document.querySelectorAll('#grids img')].every((one) => one.naturalWidth)")
    page.wait_for_timeout(500)


def photograph(url: str, height: int, shows: Any, out: Path) -> None:
    """Open a page, do what it shows, and write the PNG."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": WIDTH, "height": height})
        page.set_default_timeout(300_000)
        page.goto(url)
        shows(page)
        page.screenshot(path=out)
        browser.close()


def main() -> None:
    """Start the command, read the page's address from it, and photograph the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=("demo", "watch"))
    parser.add_argument("runs", nargs="*")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    words = [sys.executable, "-m", "t2ikit", asked.command, *asked.runs, "--port", "0", "--quiet"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            shows = photograph_demo if asked.command == "demo" else photograph_watch
            asked.out.parent.mkdir(parents=True, exist_ok=True)
            photograph(server.stdout.readline().strip(), HEIGHTS[asked.command], shows, asked.out)
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
