"""One process trains a run."""

from __future__ import annotations

from filelock import BaseFileLock, FileLock, Timeout

from t2ikit.errors import UserError
from t2ikit.runs.run import Run


def lock_run(run: Run) -> BaseFileLock:
    """Keep other processes from training the same run; the system lets go of it when this one ends.

    Raises:
        UserError: another one is training it.
    """
    lock = FileLock(run.path / ".training.lock")
    try:
        lock.acquire(timeout=1)  # `t2ikit runs` holds it for an instant
    except Timeout as error:
        raise UserError(
            f"{run.path}: another process is training this run",
            expected="one process a run",
            got="a lock that is held",
            fix="wait for it, or stop it",
        ) from error
    return lock
