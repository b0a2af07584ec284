"""Where what comes of a run goes: into its folder; for an export, below ./outputs, never into the model's."""

from __future__ import annotations

import hashlib
import itertools
import re
from pathlib import Path

from t2ikit.errors import UserError
from t2ikit.runs.run import Run
from t2ikit.utils.files import check_folder, unwritable

OUTPUTS = "outputs"


def evaluations_of(run: Run) -> Path:
    """The folder of a run's evaluations: in the run, or ./outputs/NAME-DIGEST/evaluations for an export.

    The digest is of its recipe and weights, so that no other model's evaluation is taken for its.
    """
    base = run.path
    if run.is_closed:
        name = re.sub(r"[^\w.-]+", "-", run.name) if run.known_as else run.name
        base = Path(OUTPUTS) / f"{name}-{_digest(run.path)}"
    return base / "evaluations"


def _digest(export: Path) -> str:
    found = hashlib.blake2b(digest_size=4)
    weights = sorted([*export.glob("generator/*.safetensors"), *export.glob("checkpoints/*/manifest.json")])
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
    try:
        check_folder(folder)
    except OSError as error:
        raise unwritable_images(folder, error) from error


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
                raise unwritable_images(folder, error) from error
        except OSError as error:
            raise unwritable_images(folder, error) from error
        else:
            return folder
    raise AssertionError("numbers do not end")


def _numbered(run: Run) -> Path:
    return Path(OUTPUTS) if run.is_closed else run.path / OUTPUTS


def unwritable_images(folder: Path, error: OSError) -> UserError:
    """The error of a folder that cannot take images."""
    if not folder.is_dir():
        return unwritable(
            f"--out {folder}: the folder cannot be made", error, "choose another folder with --out"
        )
    fix = "free some space, or choose another folder with --out"
    return unwritable(f"--out {folder}: the images cannot be written", error, fix)
