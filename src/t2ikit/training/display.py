"""What a person sees while training: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from t2ikit.utils.console import SCREEN, Screen, Verbosity, verbosity
from t2ikit.utils.progress import GAP, LEAST_BAR, Lines, clock, fit_bar, spinner_row

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Task

    from t2ikit.core.stopwatch import Lap

PLAIN_SECONDS = 10.0


class Display(Protocol):
    """Shows progress and messages."""

    def update(self, step: int, steps: int, scalars: dict[str, float]) -> None:
        """`step` of `steps` are done; `scalars` are those of the last log line."""
        ...

    def log(self, message: str) -> None:
        """Print a message above the progress."""
        ...

    def close(self) -> None:
        """Stop showing."""
        ...


class Silent:
    """Shows nothing: for other processes than the main one, for `--quiet`, and for use in code."""

    def update(self, step: int, steps: int, scalars: dict[str, float]) -> None:
        """Nothing."""

    def log(self, message: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Live:
    """A bar with steps, ETA, speed, memory and losses; "loading" until the first step."""

    def __init__(self, screen: Screen = SCREEN) -> None:
        self.screen = screen
        self.task: Task | None = None
        self.facts: list[str] = []
        screen.spin(spinner_row, "loading")

    def update(self, step: int, steps: int, scalars: dict[str, float]) -> None:
        """Move the bar."""
        self.facts = facts(scalars)
        if self.task is None:
            self.screen.stop_spinning()
            self.task = self.screen.add(self._row, total=steps)
        if self.screen.progress is not None:
            self.screen.progress.update(self.task.id, completed=step, total=steps)

    def log(self, message: str) -> None:
        """Print above the bar."""
        self.screen.print(message)

    def close(self) -> None:
        """Leave the bar as it stands."""
        self.screen.stop_spinning()
        if self.task is not None:
            self.screen.remove(self.task)
            self.screen.print(self._row(self.task, ended=True))
            self.task = None

    def _row(self, task: Task, *, ended: bool = False) -> RenderableType:
        head = f"step {task.completed:.0f}/{task.total:.0f}"
        eta = [] if ended else [f"eta {clock(task.time_remaining)}"]
        times = [*eta, clock(task.elapsed)]
        return Lines(task, lambda width: fit_training(head, times, self.facts, width))


def fit_training(head: str, times: list[str], facts: list[str], width: int) -> list[list[str | None]]:
    """The bar's line, with the facts behind it if `width` columns have room for all, else below it."""
    words = [head, *times, *facts]
    if sum(map(len, words)) + len(GAP) * len(words) + LEAST_BAR <= width:
        return [[head, None, *times, *facts]]
    below = fit_words(facts, width)
    return [fit_bar(head, times, width), *([below] if below else [])]


def fit_words(words: list[str], width: int) -> list[str | None]:
    """As many words as there is room for; a last one says that some are left out."""
    kept: list[str | None] = []
    room = width
    for number, word in enumerate(words):
        more = number + 1 < len(words)
        if len(word) + (len(GAP) + 3 if more else 0) > room:
            return [*kept, "..."] if room >= 3 else kept
        room -= len(word) + len(GAP)
        kept.append(word)
    return kept


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
        self.log(GAP.join([f"step {step}/{steps}", f"eta {clock(rate * (steps - step))}", *facts(scalars)]))

    def log(self, message: str) -> None:
        """Print a line."""
        self.console.print(message, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Nothing to stop."""


def facts(scalars: dict[str, float]) -> list[str]:
    """Images a second, memory, the first loss, MFU, waiting for data, other losses, each in a word or two.

    A narrow terminal shows the first ones alone.
    """
    speed, memory, use = [], [], []
    if "images_per_second" in scalars:
        speed.append(f"{scalars['images_per_second']:.0f} images/s")
    if "memory_mb" in scalars:
        memory.append(f"{scalars['memory_mb'] / 1024:.1f} GiB")
    if "mfu" in scalars:
        use.append(f"MFU {100 * scalars['mfu']:.0f} %")
    if "data_wait" in scalars:
        use.append(f"data {100 * scalars['data_wait']:.0f} %")
    values = {key.split("/", 1)[1]: value for key, value in scalars.items() if key.startswith("loss/")}
    names = values if len(values) > 1 else ["loss"]
    losses = [f"{name} {value:.4f}" for name, value in zip(names, values.values())]
    return [*speed, *memory, *losses[:1], *use, *losses[1:]]


def summary(lap: Lap, batch: int, flops: int, peak: float | None) -> str:
    """How fast the steps of a run were, in a sentence; see `Lap.record`."""
    record = lap.record(batch, flops, peak)
    mfu = f", {100 * record['mfu']:.0f} % of the device's peak (MFU)" if "mfu" in record else ""
    return (
        f"{lap.steps} step{'s' * (lap.steps != 1)} in {clock(lap.seconds)}: "
        f"{record['images_per_second']:.0f} images/s{mfu}; {100 * record['data_wait']:.0f} % of the time was "
        "spent waiting for data"
    )


def make_display(*, main: bool) -> Display:
    """A display for this terminal, or for none."""
    if not main or verbosity() == Verbosity.quiet:
        return Silent()
    return Live() if SCREEN.can_show() else Plain(SCREEN.make())
