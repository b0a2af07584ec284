"""What can be read off a run folder's files without torch: how far it is, and whether a process trains it."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, Timeout

from t2ikit.errors import UserError

_NAME = re.compile(r"step-\d{8,}")
LOCK = ".training.lock"


def checkpoints(run: Path, folder: str = "checkpoints") -> list[Path]:
    """The run's checkpoints in one of its folders, oldest first."""
    found = [path for path in (run / folder).glob("step-*") if _NAME.fullmatch(path.name) and path.is_dir()]
    return sorted(found, key=step_of)


def step_of(path: Path) -> int:
    """The step in the name of a checkpoint's folder or a grid."""
    return int(path.stem.removeprefix("step-"))


def grids(run: Path) -> list[Path]:
    """The grids that training sampled, oldest first."""
    found = [path for path in (run / "samples").glob("step-*.png") if _NAME.fullmatch(path.stem)]
    return sorted(found, key=step_of)


def read_state(checkpoint: Path) -> dict[str, Any]:
    """What a checkpoint's state.json holds.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged.
    """
    state = json.loads((checkpoint / "state.json").read_text(encoding="utf-8"))
    if not isinstance(state, dict):
        raise ValueError("state.json holds no table")
    return state


def is_over(done: int, train: Mapping[str, Any], state: Mapping[str, Any]) -> bool:
    """Whether a run is done: all of its steps, or of its minutes.

    Args:
        done: steps of the newest checkpoint.
        train: `[train]` of the recipe.
        state: of that checkpoint.
    """
    minutes = float(train.get("minutes", 0))
    if not minutes:
        return 0 < int(train["steps"]) <= done
    kept = state.get("time", {})
    share = float(kept.get("share", 0)) if kept.get("minutes") == minutes else 0.0
    return share >= 1 or float(kept.get("seconds", 0)) >= 60 * minutes


def lock_run(run: Path) -> BaseFileLock:
    """Keep other processes from training the same run; the system lets go of it when this one ends.

    Raises:
        UserError: another one is training it.
    """
    lock = FileLock(run / LOCK)
    try:
        lock.acquire(timeout=1)  # `t2ikit runs` holds it for an instant
    except Timeout as error:
        raise UserError(
            f"{run}: another process is training this run",
            expected="one process a run",
            got="a lock that is held",
            fix="wait for it, or stop it",
        ) from error
    return lock


def is_locked(run: Path) -> bool:
    """Whether a process is training the run, found out without getting in its way.

    Where a shared lock can be had it is let go at once; `t2ikit train` waits that long for its own.
    """
    lock = run / LOCK
    if not lock.is_file():
        return False
    if sys.platform == "win32":
        return _is_held(lock)
    import fcntl

    handle = os.open(lock, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(handle, fcntl.LOCK_UN)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _is_held(lock: Path) -> bool:
    """The same through filelock, whose lock is exclusive."""
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True
