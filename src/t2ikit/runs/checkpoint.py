"""Checkpoints: safetensors and JSON, written beside and renamed, checked when they are read.

A checkpoint is a folder `checkpoints/step-00000500/` that holds one safetensors file for each part,
`state.json` with all other state, and `manifest.json` with the size and SHA-256 of every file.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from t2ikit.errors import UserError, command
from t2ikit.runs.files import checkpoints, step_of
from t2ikit.utils.console import detail
from t2ikit.utils.files import WINDOWS, write_json


@dataclass
class Snapshot:
    """What one checkpoint holds.

    Attributes:
        step: optimiser steps done.
        tensors: part name -> tensor name -> tensor.
        state: all else, as JSON can hold it: the micro-batch, running means, the validation loss and so on.
        notes: one sentence for each newer checkpoint that is damaged and was passed over.
    """

    step: int
    tensors: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Damaged(UserError):
    """A file of a checkpoint is missing, cut short or altered.

    Attributes:
        file: the file.
    """

    def __init__(self, file: Path, expected: object, got: object) -> None:
        self.file = file
        super().__init__(
            f"{file} is missing or damaged",
            expected=expected,
            got=got,
            fix="restore the file, or delete this checkpoint's folder to go on from the one before",
        )


def save(run: Path, snapshot: Snapshot, within: str = "checkpoints") -> Path:
    """Write a checkpoint to a folder of the run; it is there whole or not at all.

    Raises:
        UserError: the disk is full or the folder cannot be written; earlier checkpoints are untouched.
    """
    folder = run / within
    final = folder / f"step-{snapshot.step:08d}"
    working = folder / f".writing-{final.name}"
    try:
        shutil.rmtree(working, ignore_errors=True)
        working.mkdir(parents=True)
        for part, tensors in snapshot.tensors.items():
            owned = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
            path = working / f"{part}.safetensors"
            save_file({name: t.contiguous() for name, t in owned.items()}, path)
            path.chmod(0o644)  # safetensors makes files that only their owner can read
        write_json(working / "state.json", {"step": snapshot.step, **snapshot.state})
        write_json(working / "manifest.json", {"files": _digests(working)})
        _sync(working)
        if final.exists():
            os.replace(final, folder / f".replaced-{final.name}")
        os.replace(working, final)
        _sync(folder, files=False)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(working, ignore_errors=True)
        go_on = command("t2ikit", "train", "--resume", run)
        raise UserError(
            f"checkpoint of step {snapshot.step} could not be written to {folder}",
            expected="a folder that can be written, with room for the model, its average and its optimiser",
            got=error,
            fix=f"free some space or permissions, then go on with `{go_on}`: {_latest(run)}",
        ) from error
    return final


def load(checkpoint: Path) -> Snapshot:
    """Read a checkpoint on the CPU. Every file of it must be as the manifest says, whichever are needed.

    Raises:
        Damaged: a file is missing, cut short or altered, or cannot be read.
    """
    detail(f"reading {checkpoint}")
    manifest = _read_manifest(checkpoint)
    for name, expected in manifest.items():
        _check_file(checkpoint / name, expected)
    unlisted = {path.name for path in checkpoint.glob("*.safetensors")} - set(manifest)
    if unlisted:
        raise Damaged(checkpoint / "manifest.json", "a line for each file", f"none for {min(unlisted)}")
    parts = [name.removesuffix(".safetensors") for name in manifest if name.endswith(".safetensors")]
    step, state = _read_state(checkpoint / "state.json")
    tensors = {part: _read_tensors(checkpoint / f"{part}.safetensors") for part in parts}
    return Snapshot(step, tensors, state)


def _check_file(path: Path, expected: Mapping[str, Any]) -> None:
    if not path.is_file():
        raise Damaged(path, "a file listed in manifest.json", "no such file")
    try:
        found = _digest(path)
    except OSError as error:
        raise Damaged(path, "a file that can be read", error) from error
    if found != expected:
        raise Damaged(path, f"{_shown(expected)}, as in manifest.json", _shown(found))


def _shown(digest: Mapping[str, Any]) -> str:
    return f"{digest['bytes']} bytes with SHA-256 {digest['sha256'][:16]}"


def _read_state(path: Path) -> tuple[int, dict[str, Any]]:
    try:
        state = dict(json.loads(path.read_text(encoding="utf-8")))
        return int(state.pop("step")), state
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Damaged(path, "a checkpoint's state as t2ikit writes it", error) from error


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, ValueError, SafetensorError) as error:
        raise Damaged(path, "tensors as t2ikit writes them", error) from error


def load_latest(run: Path) -> tuple[Snapshot, list[Damaged]]:
    """The newest checkpoint that is whole, and what is wrong with the newer ones.

    Raises:
        UserError: there is none.
    """
    damaged: list[Damaged] = []
    for checkpoint in reversed(checkpoints(run)):
        try:
            snapshot = load(checkpoint)
        except Damaged as error:
            damaged.append(error)
        else:
            snapshot.notes = tuple(_passed_over(run, error, snapshot.step) for error in damaged)
            return snapshot, damaged
    raise UserError(
        f"{run}: there is no checkpoint to go on from",
        expected="a folder checkpoints/step-NNNNNNNN that is whole",
        got="; ".join(error.what for error in damaged) or "none",
        fix="start the run anew in another folder with `t2ikit train ... --out DIR`",
    )


def _passed_over(run: Path, error: Damaged, step: int) -> str:
    """Without the run's own place, so that it can be shown anywhere."""
    return f"{error.file.relative_to(run).as_posix()} is missing or damaged: step {step} is used instead"


def load_at(run: Path, step: int | None) -> Snapshot:
    """Read the checkpoint of one step; None takes the newest that is whole.

    Raises:
        UserError: there is none of that step, or it is damaged.
    """
    if step is None:
        return load_latest(run)[0]
    found = {step_of(path): path for path in checkpoints(run)}
    if step not in found:
        raise UserError(
            f"{run}: there is no checkpoint of step {step}",
            expected=("one of " if len(found) > 1 else "") + ", ".join(map(str, found))
            or "a folder checkpoints/step-NNNNNNNN",
            got=step,
            fix="leave the step out for the newest; train.keep_last and train.keep_best say which are kept",
        )
    return load(found[step])


def set_aside(run: Path, *, after: int) -> None:
    """Rename the damaged checkpoints that are newer than the one gone on from, keeping their files."""
    for path in checkpoints(run):
        if step_of(path) > after:
            aside = path.with_name(f"damaged-{path.name}")
            shutil.rmtree(aside, ignore_errors=True)
            os.replace(path, aside)


def prune(run: Path, *, keep_last: int, keep_best: int) -> None:
    """Delete all but the last `keep_last` checkpoints and the `keep_best` of lowest validation loss.

    The newest is never deleted, whatever the settings.
    """
    found = checkpoints(run)
    kept = set(found[-max(keep_last, 1) :])
    scored = [(score, path) for path in found if (score := _score(path)) is not None]
    kept.update(path for _, path in sorted(scored, key=lambda pair: pair[0])[:keep_best])
    leftovers = [*(run / "checkpoints").glob(".writing-*"), *(run / "checkpoints").glob(".replaced-*")]
    for path in [*leftovers, *found]:
        if path not in kept:
            shutil.rmtree(path, ignore_errors=True)


def _score(checkpoint: Path) -> float | None:
    try:
        score = json.loads((checkpoint / "state.json").read_text(encoding="utf-8")).get("validation")
    except (OSError, ValueError):
        return None
    return score if isinstance(score, int | float) and math.isfinite(score) else None


def _read_manifest(checkpoint: Path) -> dict[str, Any]:
    try:
        manifest = dict(json.loads((checkpoint / "manifest.json").read_text(encoding="utf-8"))["files"])
        if any(Path(name).name != name or "\\" in name for name in manifest):
            raise ValueError("a file outside the checkpoint's folder")
        _ = manifest["state.json"], [(int(one["bytes"]), str(one["sha256"])) for one in manifest.values()]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Damaged(checkpoint / "manifest.json", "the list of the checkpoint's files", error) from error
    return manifest


def _digest(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return {"bytes": path.stat().st_size, "sha256": digest.hexdigest()}


def _digests(folder: Path) -> Mapping[str, Any]:
    return {path.name: _digest(path) for path in sorted(folder.iterdir())}


def _sync(folder: Path, *, files: bool = True) -> None:
    """Make sure that the data is on the disk before the rename is.

    Windows writes to the disk only what is open for writing, and opens no folders.
    """
    targets = [*(folder.iterdir() if files else ()), *([] if WINDOWS else [folder])]
    for path in targets:
        handle = os.open(path, os.O_RDWR if WINDOWS else os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _latest(run: Path) -> str:
    found = checkpoints(run)
    return f"the latest checkpoint is of step {step_of(found[-1])}" if found else "there is no checkpoint yet"
