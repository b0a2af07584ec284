"""A run folder as the page sees it: its state, what it logged, the grids it sampled."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from t2ikit.errors import UserError, as_word
from t2ikit.runs.files import LOCK, grids, is_locked, step_of
from t2ikit.runs.listing import RunSummary, is_export, run_folders, summarise
from t2ikit.runs.named import packaged_names
from t2ikit.utils.quoting import one_line, visible
from t2ikit.watching.series import History
from t2ikit.watching.tail import LogTail

SUMMARY = ("recipe.toml", "run.json", "log.jsonl", "checkpoints", LOCK)
"""What a run's state is read from."""


class WatchedRun:
    """One run, read again as it grows; several threads may ask.

    Args:
        path: the folder.
        label: what the page calls it.
    """

    def __init__(self, path: Path, label: str) -> None:
        self.path, self.label = path, label
        self._lock = Lock()
        self._tail = LogTail(path / "log.jsonl")
        self._history = History()
        self._generation = 0
        self._problem = ""
        self._seen: object = None
        self._summary = RunSummary(str(path), label)

    def state(self) -> dict[str, Any]:
        """How far it is, and how much there is to fetch: rows of the log, and its grids."""
        with self._lock:
            self._read()
            summary = self._summarised()
            return {
                "label": self.label,
                "state": summary.state,
                "problem": visible(summary.problem or self._problem),
                "step": summary.step,
                "steps": summary.steps,
                "minutes": summary.minutes,
                "generation": self._generation,
                "rows": self._history.rows,
                "damaged": self._tail.damaged,
                "grids": list(map(list, self._grids())),
            }

    def log(self, generation: int, row: int) -> dict[str, Any]:
        """What was logged from a row on.

        Args:
            generation: that the caller knows; all rows are given where the log has been cut since.
            row: of that generation.

        Returns:
            `generation`; `from`: the row that the points begin with; `rows`: in all; `series`: by key.
        """
        with self._lock:
            self._read()
            start = row if generation == self._generation and 0 <= row <= self._history.rows else 0
            return {
                "generation": self._generation,
                "from": start,
                "rows": self._history.rows,
                "series": self._history.since(start),
            }

    def grid(self, step: int) -> bytes | None:
        """The PNG that was sampled at a step; None: there is none, or its file lies elsewhere."""
        file = self.path / "samples" / f"step-{step:08d}.png"
        try:
            inside = file.resolve().is_relative_to(self.path.resolve())
            return file.read_bytes() if inside and file.is_file() else None
        except (OSError, ValueError):
            return None

    def _read(self) -> None:
        """Add what was logged since; a log that was cut begins anew."""
        try:
            replaced, records = self._tail.read()
            self._problem = ""
        except OSError as error:
            self._problem = f"log.jsonl: {one_line(error.strerror or error)}"
            return
        if replaced:
            self._history = History()
            self._generation += 1
        self._history.extend(records)

    def _summarised(self) -> RunSummary:
        """As `t2ikit runs` sees it, read again only if a file has changed."""
        seen = [_changed(self.path / name) for name in SUMMARY]
        try:
            seen.append(is_locked(self.path))
        except OSError:
            seen.append(None)
        if seen != self._seen:
            self._summary, self._seen = summarise(self.path), seen
        return self._summary

    def _grids(self) -> list[tuple[int, int]]:
        """Step of each grid and when it was written: a resumed run may sample one again."""
        times = [(step_of(path), _changed(path)) for path in grids(self.path)]
        return [(step, time) for step, time in times if time is not None]


def _changed(path: Path) -> int | None:
    """When a file was written last, microseconds, which a number of JavaScript can hold; None: it is gone."""
    try:
        return os.stat(path).st_mtime_ns // 1000
    except OSError:
        return None


class WatchedRuns:
    """The runs to watch, each once, and those that begin later in the same folders.

    Args:
        names: run folders, or folders of them.

    Attributes:
        runs: in a fixed order, since their places are their addresses; later ones come last.

    Raises:
        UserError: one of them is none, or holds none.
    """

    def __init__(self, names: Sequence[str | Path]) -> None:
        self.runs: list[WatchedRun] = []
        self._folders = [Path(name).expanduser() for name in names]
        self._known: set[Path] = set()
        self._lock = Lock()
        for folder in self._folders:
            _check(folder)
        self.look()

    def look(self) -> list[WatchedRun]:
        """The runs, with those that have begun since; several threads may ask."""
        with self._lock:
            new: dict[Path, Path] = {}
            for path in (path for folder in self._folders for path in _watchable(folder)):
                if (real := path.resolve()) not in self._known:
                    new.setdefault(real, path)
            self._known |= new.keys()
            taken = [path.name for path in self._known]
            self.runs += [
                WatchedRun(path, visible(real.name if taken.count(real.name) == 1 else str(path)))
                for real, path in new.items()
            ]
            return list(self.runs)


def _watchable(folder: Path) -> list[Path]:
    """A run's folder, or those in a folder of runs; exports have no log."""
    try:
        return [path for path in run_folders(folder) if not is_export(path)]
    except (OSError, UserError):  # it is gone, and may come back
        return []


def _check(folder: Path) -> None:
    """Refuse what holds no run.

    Raises:
        UserError: as it says.
    """
    if not folder.exists() and str(folder) in packaged_names():
        raise _nothing(folder, "a trained model that comes with t2ikit, which has no log")
    found = run_folders(folder)
    if not found:
        raise _nothing(folder, "a folder without runs")
    if all(map(is_export, found)):
        raise _nothing(folder, "an export, which has no log")


def _nothing(path: Path, got: str) -> UserError:
    return UserError(
        f"{as_word(path)}: there is no run to watch",
        expected="a run folder, or a folder of them",
        got=got,
        fix="give the folder that `t2ikit train` writes to; `t2ikit runs` lists those in `runs`",
    )
