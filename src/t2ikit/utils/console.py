"""Standard error: how much is said there, and the one live display of a process at its lower end.

Everything that a person reads while a command works goes through here, so that messages appear above the bars
and never within them. Nothing of `rich` is imported until something is shown.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from t2ikit.utils.quoting import visible_lines

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress, Task, TaskID

    Row = Callable[[Task], RenderableType]

NOTEBOOK = ("JPY_PARENT_PID", "JPY_SESSION_NAME", "COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE")
REFRESHES = 5.0
"""A second. A frame takes about a millisecond, so that training is not slowed down."""


class Verbosity(IntEnum):
    """How much is said on standard error."""

    quiet = 0
    normal = 1
    verbose = 2


_verbosity = Verbosity.normal
_hear: ContextVar[Callable[[str], None] | None] = ContextVar("hear", default=None)


def set_verbosity(level: Verbosity) -> None:
    """Choose how much this process says; `verbose` adds what is decided and how long it takes."""
    global _verbosity
    _verbosity = level


def verbosity() -> Verbosity:
    """How much this process says."""
    return _verbosity


def in_notebook() -> bool:
    """Whether a notebook's cell shows what is written.

    A cell's `!command` has a pseudo-terminal, but shows its control sequences as they are or drops them.
    """
    backend = os.environ.get("MPLBACKEND", "")
    return any(name in os.environ for name in NOTEBOOK) or backend.startswith("module://matplotlib_inline")


def make_console(*, stderr: bool = True) -> Console:
    """A console of standard error (or output) that is as wide as its terminal, also where TERM is `dumb`."""
    from rich.console import Console

    width = shutil.get_terminal_size().columns if is_dumb() else None
    return Console(stderr=stderr, force_jupyter=False, width=width)


def is_dumb() -> bool:
    """Whether the terminal understands no control sequence."""
    return os.environ.get("TERM", "").lower() in ("dumb", "unknown")


def can_move(console: Console) -> bool:
    """Whether lines that are written can be replaced: a terminal that understands control sequences.

    FORCE_COLOR asks for colours, and is often set where a file or a notebook receives them.
    """
    return console.is_interactive and console.file.isatty() and not in_notebook()


def wants_bars() -> bool:
    """Whether libraries that download may draw bars of their own on standard error."""
    return _verbosity > Verbosity.quiet and sys.stderr.isatty() and not is_dumb() and not in_notebook()


def is_main_process() -> bool:
    """Whether this is the first of the processes that train together (RANK, set by their launcher)."""
    return os.environ.get("RANK", "0") in ("", "0")


class Screen:
    """The rows of bars at the lower end of a terminal; messages go above them.

    It begins with the first row and ends with the last, leaving nothing behind. Where lines cannot be
    replaced, there are no rows.

    Args:
        make: gives the console, when the first row is added or something is printed without any.
    """

    def __init__(self, make: Callable[[], Console] = make_console) -> None:
        self.make = make
        self.progress: Progress | None = None
        self.spinner: TaskID | None = None

    def can_show(self) -> bool:
        """Whether rows can be shown here and now."""
        return self.progress is not None or (
            _verbosity > Verbosity.quiet and is_main_process() and can_move(self.make())
        )

    def add(self, row: Row, total: int | None = None, **fields: Any) -> Task:
        """Show another row, drawn by `row`."""
        if self.progress is None:
            self.progress = _start(self.make())
        progress = self.progress
        place = progress.add_task("", total=total, row=row, **fields)
        self._hide_spinner()
        return next(task for task in progress.tasks if task.id == place)

    def remove(self, task: Task) -> None:
        """Take a row away."""
        if self.progress is None or task.id not in self.progress.task_ids:
            return
        self.progress.remove_task(task.id)
        if task.id == self.spinner:
            self.spinner = None
        if not self.progress.task_ids:
            self.progress.stop()
            self.progress = None
        else:
            self._hide_spinner()

    def spin(self, row: Row, text: str) -> None:
        """Show that something is being done, in a row that other rows replace while there are any."""
        if self.spinner is None:
            self.spinner = self.add(row, text=text).id
            self._hide_spinner()
        elif self.progress is not None:
            self.progress.update(self.spinner, text=text)

    def stop_spinning(self) -> None:
        """Take the spinner away."""
        if self.progress is not None and self.spinner is not None:
            self.remove(next(task for task in self.progress.tasks if task.id == self.spinner))

    def clear(self) -> None:
        """Take every row away."""
        for task in list(self.progress.tasks) if self.progress is not None else []:
            self.remove(task)

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Leave the terminal to the bars of a library."""
        if self.progress is not None:
            self.progress.stop()
        try:
            yield
        finally:
            if self.progress is not None:
                self.progress.start()

    def _hide_spinner(self) -> None:
        if self.progress is not None and self.spinner is not None:
            self.progress.update(self.spinner, visible=len(self.progress.task_ids) == 1)

    def print(self, message: RenderableType) -> None:
        """Print above the rows: wrapped at words on a terminal, whole in a file."""
        console = self.progress.console if self.progress is not None else self.make()
        if isinstance(message, str):
            message = "\n".join(visible_lines(message))
        console.print(message, markup=False, highlight=False, soft_wrap=not console.file.isatty())


def _start(console: Console) -> Progress:
    from rich.progress import Progress, ProgressColumn
    from rich.table import Column

    class Rows(ProgressColumn):
        """The only column: each task draws a whole row, as it fits the width."""

        max_refresh = None

        def render(self, task: Task) -> RenderableType:
            return task.fields["row"](task)

    progress = Progress(
        Rows(table_column=Column(ratio=1)),
        console=console,
        refresh_per_second=REFRESHES,
        transient=True,
        expand=True,
        redirect_stdout=sys.stdout.isatty(),
    )
    progress.start()
    return progress


SCREEN = Screen()
"""Of this process's standard error."""


def log(message: str) -> None:
    """Say something on standard error, above the bars; nothing where the process is to be quiet."""
    _say(message, Verbosity.normal)


def warn(message: str) -> None:
    """Say what must be known however quiet the process is to be."""
    _say(f"warning: {message}", Verbosity.quiet)


def detail(message: str) -> None:
    """Say something that only `--verbose` shows."""
    _say(message, Verbosity.verbose)


@contextmanager
def listening(hear: Callable[[str], None]) -> Iterator[None]:
    """Meanwhile, what is said in this thread goes to `hear` as well, without details: for a page."""
    before = _hear.set(hear)
    try:
        yield
    finally:
        _hear.reset(before)


def _say(message: str, level: Verbosity) -> None:
    hear = _hear.get()
    if hear is not None and level < Verbosity.verbose:
        hear(message.removeprefix("warning: "))
    if _verbosity >= level and is_main_process():
        SCREEN.print(message)
