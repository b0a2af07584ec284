"""The folder of an ablation: a new one, or that of the same ablation, which goes on."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from t2ikit.ablation.plan import FILE, Plan, read_plan
from t2ikit.errors import UserError
from t2ikit.utils.files import unwritable

REPORT = "report.html"
LOCK = ".ablation.lock"


def find_folder(plan: Plan, out: Path | None) -> Path:
    """Where an ablation of this plan goes, with the plan written into it.

    Args:
        plan: of what was asked for now.
        out: the folder asked for. None takes the newest of runs/ablate-001, runs/ablate-002 and so on that
            is of the same plan and has no report, or else the next number.

    Raises:
        UserError: the folder holds something else, or cannot be written.
    """
    folder = out or _numbered(plan)
    if (folder / FILE).is_file():
        if read_plan(folder) != plan:
            raise UserError(
                f"--out {folder}: it holds another ablation",
                expected="a new folder, or the same recipes, settings, seeds and plugin files",
                got=f"a {FILE} that differs",
                fix="choose another folder, or go on with that one: --resume in place of all else",
            )
        return folder
    try:
        if folder.is_dir() and any(folder.iterdir()):
            raise FileExistsError("it is not empty")
        folder.mkdir(parents=True, exist_ok=True)
        plan.write(folder)
    except OSError as error:
        what = f"--out {folder}: the ablation cannot be written"
        raise unwritable(what, error, "choose another folder with --out") from error
    return folder


def _numbered(plan: Plan) -> Path:
    before = None
    for number in itertools.count(1):
        folder = Path("runs") / f"ablate-{number:03d}"
        if not folder.exists():
            return before or folder
        if (folder / FILE).is_file() and not (folder / REPORT).exists() and _same(folder, plan):
            before = folder
    raise AssertionError("numbers do not end")


def _same(folder: Path, plan: Plan) -> bool:
    try:
        return read_plan(folder) == plan
    except UserError:
        return False


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Keep other processes from the same ablation; the system lets go of it when this one ends.

    Raises:
        UserError: another one does it, or the folder cannot be written.
    """
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=1)
    except Timeout as error:
        raise UserError(
            f"{folder}: this ablation is running",
            expected="one process an ablation",
            got="a lock that another process holds",
            fix="wait for it, or stop it; a second one of the same plan needs a folder of its own: --out",
        ) from error
    except OSError as error:
        what = f"{folder}: the ablation cannot be written"
        raise unwritable(what, error, "make the folder writable") from error
    try:
        yield
    finally:
        lock.release()
