"""Commands of a checkout, in a process of their own: what they answer, how long they take, and their logs."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpu.checkouts import Checkout

LAUNCHER = Path(__file__).with_name("launched.py")
PATIENCE = 600.0
"""Seconds after which a command counts as hanging where nothing else limits it."""


class Failed(Exception):
    """A command ended with an error; its message is the last line that it printed."""


class TooLong(Exception):
    """A command was stopped as it took too long."""


def words_of(*words: object, launched: bool = False) -> list[str]:
    """`python -m t2ikit WORDS`, or the same through launched.py."""
    start = [str(LAUNCHER)] if launched else ["-m", "t2ikit"]
    return [sys.executable, *start, *map(str, words)]


def run(
    checkout: Checkout,
    command: Sequence[str],
    folder: Path,
    *,
    limit: float = PATIENCE,
    extra: Mapping[str, str] | None = None,
) -> tuple[float, str]:
    """Run a command to its end; the seconds it took and all it printed.

    Raises:
        Failed, TooLong: so it ended.
    """
    began = time.monotonic()
    with started(checkout, command, folder, extra) as (process, printed):
        try:
            process.wait(min(limit, PATIENCE))
        except subprocess.TimeoutExpired:
            raise TooLong(f"stopped after {time.monotonic() - began:.0f} s") from None
        seconds = time.monotonic() - began
        if process.returncode:
            raise Failed(last_line(printed))
    return seconds, printed.read_text(errors="replace")


def last_line(printed: Path) -> str:
    """What a command said at last, as a reason."""
    lines = [line for line in printed.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines or ["it printed nothing"])[-1].strip()[:300]


@contextmanager
def started(checkout: Checkout, command: Sequence[str], folder: Path, extra: Mapping[str, str] | None = None):
    """A process and the file that it prints to; it and what it started are ended in the end."""
    folder.mkdir(parents=True, exist_ok=True)
    printed = folder / "printed.txt"
    with printed.open("w") as file:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**checkout.environment(), **(extra or {})},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process, printed
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@dataclass(frozen=True)
class Watch:
    """How long a training is watched.

    Attributes:
        warm_up: steps that do not count: capturing, and the optimiser's first steps.
        seconds, lines: of the log after them, when enough is known.
        whole: go on to the end where that comes within `limit`.
        limit: seconds in all.
    """

    warm_up: int = 60
    seconds: float = 10.0
    lines: int = 5
    whole: bool = False
    limit: float = 60.0


@dataclass
class Watched:
    """What was seen of a training.

    Attributes:
        lines: of its log.
        first_line: seconds from the command to the first of them.
        steady: seconds since the first line after the warm-up.
        grid, end: seconds from the command to the last grid and to its end; None: it was stopped before.
    """

    lines: list[dict[str, Any]] = field(default_factory=list)
    first_line: float | None = None
    steady: float = 0.0
    grid: float | None = None
    end: float | None = None

    def figures(self, warm_up: int) -> dict[str, float | None]:
        """Medians of the lines after the warm-up, the peak of memory, and the seconds."""
        late = [line for line in self.lines if line["step"] > warm_up]

        def of(key: str, choose: Any) -> float | None:
            values = [line[key] for line in late if line.get(key) is not None]
            return choose(values) if values else None

        return {
            "images_per_second": of("images_per_second", statistics.median),
            "mfu": of("mfu", statistics.median),
            "data_wait": of("data_wait", statistics.median),
            "memory_mb": of("memory_mb", max),
            "lines": float(len(late)),
            "first_line_s": self.first_line,
            "grid_s": self.grid,
            "command_s": self.end,
        }


def train(
    checkout: Checkout,
    words: Sequence[object],
    folder: Path,
    watch: Watch,
    *,
    extra: Mapping[str, str] | None = None,
) -> Watched:
    """Train into `folder`/run and watch the log until enough is known.

    Raises:
        Failed: the command did.
        TooLong: the limit came before a line after the warm-up.
    """
    command = words_of("train", *words, "--out", "run", launched=extra is not None)
    began, wall = time.monotonic(), time.time()
    seen = Watched()
    with started(checkout, command, folder, extra) as (process, printed):
        while process.poll() is None and not _enough(seen, watch, time.monotonic() - began):
            time.sleep(0.05)
            _look(seen, folder / "run" / "log.jsonl", watch, time.monotonic() - began)
        if process.poll() is not None:
            seen.end = time.monotonic() - began
            _look(seen, folder / "run" / "log.jsonl", watch, seen.end)
            grids = list((folder / "run" / "samples").glob("*.png"))
            seen.grid = max((path.stat().st_mtime - wall for path in grids), default=None)
        if process.poll():
            raise Failed(last_line(printed))
    if not any(line["step"] > watch.warm_up for line in seen.lines):
        raise TooLong(f"no steady line in {time.monotonic() - began:.0f} s")
    return seen


def _look(seen: Watched, log: Path, watch: Watch, now: float) -> None:
    """Read what the log has by now."""
    if not log.exists():
        return
    seen.lines = [json.loads(line) for line in log.read_bytes().split(b"\n")[:-1]]
    if seen.lines and seen.first_line is None:
        seen.first_line = now
    late = sum(line["step"] > watch.warm_up for line in seen.lines)
    if late and not seen.steady:
        seen.steady = now


def _enough(seen: Watched, watch: Watch, now: float) -> bool:
    """Whether a training that still runs is to be stopped."""
    if now > watch.limit:
        return True
    late = sum(line["step"] > watch.warm_up for line in seen.lines)
    return not watch.whole and late >= watch.lines and now - seen.steady > watch.seconds
