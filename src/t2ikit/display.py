"""What a person sees while training: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

PLAIN_SECONDS = 10.0


class Display(Protocol):
    """Shows progress and messages."""

    def update(self, step: int, steps: int, scalars: dict[str, float]) -> None:
        """`step` of `steps` are done; `scalars` are those of the last log line."""
        ...

    def say(self, message: str) -> None:
        """Print a message above the progress."""
        ...

    def close(self) -> None:
        """Stop showing."""
        ...


class Silent:
    """Shows nothing: for other processes than the main one, and for use in code."""

    def update(self, step: int, steps: int, scalars: dict[str, float]) -> None:
        """Nothing."""

    def say(self, message: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Live:
    """A progress bar with ETA, images a second, losses and memory."""

    def __init__(self, console: Console) -> None:
        columns = (
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TextColumn("eta"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[facts]}"),
        )
        self.progress = Progress(*columns, console=console, refresh_per_second=4)
        self.task = self.progress.add_task("train", total=None, facts="")
        self.progress.start()

    def update(self, step: int, steps: int, scalars: dict[str, float]) -> None:
        """Move the bar."""
        self.progress.update(self.task, completed=step, total=steps, facts=facts(scalars))

    def say(self, message: str) -> None:
        """Print above the bar."""
        self.progress.console.print(message, markup=False, highlight=False)

    def close(self) -> None:
        """Leave the bar as it stands."""
        self.progress.stop()


class Plain:
    """One line every ten seconds, and at the end."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.began = time.monotonic()
        self.first: int | None = None
        self.shown = 0.0

    def update(self, step: int, steps: int, scalars: dict[str, float]) -> None:
        """Print a line when it is time for one."""
        now = time.monotonic()
        if self.first is None:
            self.first, self.began, self.shown = step - 1, now, now
        if now - self.shown < PLAIN_SECONDS and step != steps:
            return
        self.shown = now
        rate = (now - self.began) / max(1, step - self.first)
        self.say(f"step {step}/{steps}  eta {clock(rate * (steps - step))}  {facts(scalars)}")

    def say(self, message: str) -> None:
        """Print a line."""
        self.console.print(message, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Nothing to stop."""


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def facts(scalars: dict[str, float]) -> str:
    """Images a second, losses and memory in a few words."""
    words = []
    if "images_per_second" in scalars:
        words.append(f"{scalars['images_per_second']:.0f} images/s")
    words += [
        f"{name.split('/', 1)[1]} {value:.4f}" for name, value in scalars.items() if name.startswith("loss/")
    ]
    if "memory_mb" in scalars:
        words.append(f"{scalars['memory_mb'] / 1024:.1f} GiB")
    return "  ".join(words)


def make_display(*, main: bool) -> Display:
    """A display for this terminal, or for none."""
    console = Console(stderr=True)
    if not main:
        return Silent()
    return Live(console) if console.is_terminal else Plain(console)
