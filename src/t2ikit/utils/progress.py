"""Bars of work that is counted: a row at the lower end of a terminal, a line now and then in a file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from t2ikit.utils.console import SCREEN, detail, log

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.progress import Task

PLAIN_SECONDS = 30.0
"""Between two lines where there is no terminal."""
GAP = "  "
MOST_BAR, LEAST_BAR = 40, 6


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show work that is counted; gives a function to call with (done, in all).

    With `--verbose`, a line says afterwards how long it took.
    """
    began = time.monotonic()
    done = 0
    task = SCREEN.add(bar_row, text=title) if SCREEN.can_show() else None
    due = began + PLAIN_SECONDS

    def update(now_done: int, total: int) -> None:
        nonlocal done, due
        done = now_done
        if task is not None and SCREEN.progress is not None:
            SCREEN.progress.update(task.id, completed=done, total=total)
        elif task is None and time.monotonic() >= due:
            due = time.monotonic() + PLAIN_SECONDS
            log(f"{title} {done}/{total}")

    try:
        yield update
        detail(f"{title}: {done} in {time.monotonic() - began:.1f} s")
    finally:
        if task is not None:
            SCREEN.remove(task)


@contextmanager
def phase(title: str) -> Iterator[None]:
    """Show that something is being done that cannot be counted; `--verbose` says how long it took."""
    began = time.monotonic()
    task = SCREEN.add(spinner_row, text=title) if SCREEN.can_show() else None
    try:
        yield
        detail(f"{title}: {time.monotonic() - began:.1f} s")
    finally:
        if task is not None:
            SCREEN.remove(task)


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Say with `--verbose` how long something took, and show nothing meanwhile."""
    began = time.monotonic()
    yield
    detail(f"{what}: {time.monotonic() - began:.1f} s")


def spin(text: str = "loading") -> None:
    """Show that something is being done until `SCREEN.stop_spinning`."""
    if SCREEN.can_show():
        SCREEN.spin(spinner_row, text)


def clock(seconds: float | None) -> str:
    """Seconds as h:mm:ss."""
    if seconds is None:
        return "-:--:--"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def spinner_row(task: Task) -> RenderableType:
    """Something that turns, what is being done, and for how long."""
    from rich.spinner import Spinner
    from rich.table import Table
    from rich.text import Text

    spinner = task.fields.setdefault("spinner", Spinner("line", style="progress.spinner"))
    grid = Table.grid(padding=(0, 1))
    words = Text(f"{task.fields['text']}{GAP}{clock(task.elapsed)}", no_wrap=True, overflow="ellipsis")
    grid.add_row(spinner, words)
    return grid


def bar_row(task: Task) -> RenderableType:
    """A title, how much is done, a bar, and the time that is left."""
    if not task.total:
        return spinner_row(task)
    head = f"{task.fields['text']} {task.completed:.0f}/{task.total:.0f}"
    times = [f"eta {clock(task.time_remaining)}", clock(task.elapsed)]
    return Lines(task, lambda width: [fit_bar(head, times, width)])


class Lines:
    """A task's lines, composed for the width that is there.

    Args:
        task: whose bar is drawn.
        compose: from the width to lines, each a list of texts in which None stands for the bar.
    """

    def __init__(self, task: Task, compose: Callable[[int], list[list[str | None]]]) -> None:
        self.task, self.compose = task, compose

    def __rich_console__(self, console, options):  # type: ignore[no-untyped-def]
        """The lines for `rich`."""
        for parts in self.compose(options.max_width):
            yield self._line(parts, options.max_width)

    def _line(self, parts: list[str | None], width: int) -> RenderableType:
        from rich.progress_bar import ProgressBar
        from rich.table import Column, Table
        from rich.text import Text

        texts = [part for part in parts if part is not None]
        room = width - sum(map(len, texts)) - len(GAP) * (len(parts) - 1)
        grid = Table.grid(*(Column(no_wrap=True, overflow="ellipsis") for _ in parts), padding=(0, len(GAP)))
        bar = ProgressBar(total=self.task.total, completed=self.task.completed, width=min(MOST_BAR, room))
        grid.add_row(*(bar if part is None else Text(part) for part in parts))
        return grid


def fit_bar(head: str, tail: list[str], width: int) -> list[str | None]:
    """A head, a bar and as much of the tail, in its order, as `width` columns have room for."""
    room = width - len(head) - len(GAP)
    kept: list[str] = []
    for text in tail:
        if room - len(GAP) - len(text) < LEAST_BAR:
            break
        room -= len(GAP) + len(text)
        kept.append(text)
    bar: list[str | None] = [None] if room >= LEAST_BAR else []
    return [head, *bar, *kept]
