"""Where what comes of a run goes: into its folder; for an export, below ./outputs, never into the model's."""

from __future__ import annotations

import hashlib
import itertools
import os
from contextlib import suppress
from pathlib import Path

from t2ikit.errors import UserError
from t2ikit.runs.run import Run

OUTPUTS = "outputs"


def evaluations_of(run: Run) -> Path:
    """The folder of a run's evaluations: in the run, or ./outputs/NAME-DIGEST/evaluations for an export.

    The digest is of the export's recipe and weights, so that no other model's evaluation is taken for its.
    """
    base = run.path
    if run.exported:
        base = Path(OUTPUTS) / f"{run.path.resolve().name}-{_digest(run.path)}"
    return base / "evaluations"


def _digest(export: Path) -> str:
    found = hashlib.blake2b(digest_size=4)
    weights = sorted((export / "generator").glob("*.safetensors"))
    for path in (export / "recipe.toml", export / "run.json", *weights):
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                found.update(block)
    return found.hexdigest()


def check_output(run: Run, out: Path | None = None) -> None:
    """Refuse a folder for images that `make_output` could not make or write; leaves nothing behind.

    Raises:
        UserError: it cannot be made or written.
    """
    folder = out or _numbered(run) / "001"
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unmakable(folder, error) from error
    try:
        probe = folder / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise unwritable(folder, error) from error
    with suppress(OSError):  # another process may be using them by now
        for path in made:
            path.rmdir()


def make_output(run: Run, out: Path | None = None) -> Path:
    """Where images sampled from a run go: `out`, or the first free of outputs/001, outputs/002, ...

    They are numbered in the run's folder; for an export in ./outputs. No two processes get the same number.

    Raises:
        UserError: it cannot be made.
    """
    numbers = (_numbered(run) / f"{number:03d}" for number in itertools.count(1))
    for folder in numbers if out is None else (out,):
        try:
            folder.mkdir(parents=True, exist_ok=out is not None)
        except FileExistsError as error:
            if out is not None:
                raise _unmakable(folder, error) from error
        except OSError as error:
            raise _unmakable(folder, error) from error
        else:
            return folder
    raise AssertionError("numbers do not end")


def _numbered(run: Run) -> Path:
    return Path(OUTPUTS) if run.exported else run.path / OUTPUTS


def _unmakable(folder: Path, error: OSError) -> UserError:
    return UserError(
        f"--out {folder}: the folder cannot be made",
        expected="a folder in which files can be written",
        got=error,
        fix="choose another folder with --out",
    )


def unwritable(folder: Path, error: OSError) -> UserError:
    """The error of a folder that cannot take images."""
    return UserError(
        f"--out {folder}: the images cannot be written",
        expected="a folder in which files can be written, with room for them",
        got=error,
        fix="free some space, or choose another folder with --out",
    )
