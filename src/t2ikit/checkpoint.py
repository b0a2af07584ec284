"""Checkpoints: safetensors and JSON, written beside and renamed, checked when they are read.

A checkpoint is a folder `checkpoints/step-00000500/` that holds one safetensors file for each part, one
JSON file for each part's other state, and `manifest.json` with the size and SHA-256 of every file.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from t2ikit.console import detail
from t2ikit.errors import UserError
from t2ikit.files import write_json

_NAME = re.compile(r"step-\d{8,}")


@dataclass
class Snapshot:
    """What one checkpoint holds.

    Attributes:
        step: optimiser steps done.
        tensors: part name -> tensor name -> tensor.
        state: part name -> what JSON can hold.
    """

    step: int
    tensors: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)


def checkpoints(run: Path) -> list[Path]:
    """The run's checkpoint folders, oldest first."""
    folder = run / "checkpoints"
    found = [path for path in folder.glob("step-*") if _NAME.fullmatch(path.name) and path.is_dir()]
    return sorted(found, key=step_of)


def step_of(checkpoint: Path) -> int:
    """The step in a checkpoint folder's name."""
    return int(checkpoint.name.removeprefix("step-"))


def save(run: Path, snapshot: Snapshot) -> Path:
    """Write a checkpoint; it is there whole or not at all.

    Raises:
        UserError: the disk is full or the folder cannot be written; earlier checkpoints are untouched.
    """
    folder = run / "checkpoints"
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
        raise UserError(
            f"checkpoint of step {snapshot.step} could not be written to {folder}",
            expected="a folder that can be written, with room for the model, its average and its optimiser",
            got=error,
            fix="free some space or permissions, then go on with `t2ikit train --resume RUN`: "
            f"{_latest(run)}",
        ) from error
    return final


def load(checkpoint: Path) -> Snapshot:
    """Read a checkpoint on the CPU after checking every file against the manifest.

    Raises:
        UserError: a file is missing, cut short or altered.
    """
    detail(f"reading {checkpoint}")
    manifest = _read_manifest(checkpoint)
    for name, expected in manifest.items():
        path = checkpoint / name
        if not path.is_file():
            raise _damaged(checkpoint, name, "a file listed in manifest.json", "no such file")
        found = _digest(path)
        if found != expected:
            raise _damaged(checkpoint, name, f"{expected['bytes']} bytes, as in manifest.json", found)
    parts = [name.removesuffix(".safetensors") for name in manifest if name.endswith(".safetensors")]
    try:
        state = json.loads((checkpoint / "state.json").read_text())
        tensors = {part: load_file(checkpoint / f"{part}.safetensors") for part in parts}
        return Snapshot(state.pop("step"), tensors, state)
    except (ValueError, KeyError, AttributeError, SafetensorError) as error:
        raise _damaged(checkpoint, "state.json", "a checkpoint as t2ikit writes it", error) from error


def load_latest(run: Path) -> tuple[Snapshot, list[UserError]]:
    """The newest checkpoint that is whole, and what is wrong with the newer ones.

    Raises:
        UserError: there is none.
    """
    damaged: list[UserError] = []
    for checkpoint in reversed(checkpoints(run)):
        try:
            return load(checkpoint), damaged
        except UserError as error:
            damaged.append(error)
    raise UserError(
        f"{run}: there is no checkpoint to go on from",
        expected="a folder checkpoints/step-NNNNNNNN that is whole",
        got="; ".join(error.what for error in damaged) or "none",
        fix="start the run anew in another folder with `t2ikit train ... --out DIR`",
    )


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
            expected="one of " + ", ".join(map(str, found))
            if found
            else "a folder checkpoints/step-NNNNNNNN",
            got=step,
            fix="choose one of those; train.keep and train.keep_best say which checkpoints a run keeps",
        )
    return load(found[step])


def set_aside(run: Path, *, after: int) -> None:
    """Rename the damaged checkpoints that are newer than the one gone on from, keeping their files."""
    for path in checkpoints(run):
        if step_of(path) > after:
            aside = path.with_name(f"damaged-{path.name}")
            shutil.rmtree(aside, ignore_errors=True)
            os.replace(path, aside)


def prune(run: Path, *, keep: int, keep_best: int) -> None:
    """Delete all but the last `keep` checkpoints and the `keep_best` of lowest validation loss.

    The newest is never deleted, whatever the settings.
    """
    found = checkpoints(run)
    kept = set(found[-max(keep, 1) :])
    scored = [(score, path) for path in found if (score := _score(path)) is not None]
    kept.update(path for _, path in sorted(scored, key=lambda pair: pair[0])[:keep_best])
    leftovers = [*(run / "checkpoints").glob(".writing-*"), *(run / "checkpoints").glob(".replaced-*")]
    for path in [*leftovers, *found]:
        if path not in kept:
            shutil.rmtree(path, ignore_errors=True)


def _score(checkpoint: Path) -> float | None:
    try:
        score = json.loads((checkpoint / "state.json").read_text()).get("validation")
    except (OSError, ValueError):
        return None
    return score if isinstance(score, int | float) and math.isfinite(score) else None


def _read_manifest(checkpoint: Path) -> dict[str, Any]:
    try:
        manifest = dict(json.loads((checkpoint / "manifest.json").read_text())["files"])
        _ = manifest["state.json"]["bytes"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(checkpoint, "manifest.json", "the list of the checkpoint's files", error) from error
    return manifest


def _damaged(checkpoint: Path, name: str, expected: object, got: object) -> UserError:
    return UserError(
        f"{checkpoint / name} is missing or damaged",
        expected=expected,
        got=got,
        fix="restore the file, or delete this checkpoint's folder to go on from the one before",
    )


def _digest(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return {"bytes": path.stat().st_size, "sha256": digest.hexdigest()}


def _digests(folder: Path) -> Mapping[str, Any]:
    return {path.name: _digest(path) for path in sorted(folder.iterdir())}


def _sync(folder: Path, *, files: bool = True) -> None:
    """Make sure that the data is on the disk before the rename is (POSIX)."""
    targets: Iterable[Path] = [*folder.iterdir(), folder] if files else [folder]
    for path in targets:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _latest(run: Path) -> str:
    found = checkpoints(run)
    return f"the latest checkpoint is of step {step_of(found[-1])}" if found else "there is no checkpoint yet"
