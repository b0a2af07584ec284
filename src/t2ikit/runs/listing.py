"""`t2ikit runs` in code: what each run folder holds, read without torch and without disturbing a training."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from t2ikit.config.toml import load_toml
from t2ikit.errors import UserError, as_word
from t2ikit.runs.files import checkpoints, is_locked, is_over, read_state, step_of
from t2ikit.utils.quoting import visible

State = Literal["done", "stopped", "running", "damaged"]
UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, UserError)
"""What reading a file that somebody else wrote, or that is damaged, may raise."""
TAIL = 1 << 20
"""Bytes read from the end of a log."""
ACCURACY = "prompt-accuracy/joint"


@dataclass
class RunSummary:
    """One run, or one export of a run.

    Attributes:
        path: its folder.
        name: of the folder.
        state: done; stopped, which `t2ikit train --resume` goes on with; running in some process; damaged.
        problem: what is damaged.
        exported: it is an export, which has no checkpoints.
        plugin: of the generator.
        data: the SPEC.
        step, steps: done and in all; of a timed run that is not done `steps` says nothing.
        minutes: asked for; 0: it counts steps.
        minutes_done: of those.
        validation_loss: the last one, weighted as the recipe says.
        accuracy: per cent of prompts that were followed in all they name, of the newest evaluated step.
        images_per_second: at the last log line.
        created: ISO 8601.
        age: seconds since then.
    """

    path: str
    name: str
    state: State = "stopped"
    problem: str = ""
    exported: bool = False
    plugin: str = ""
    data: str = ""
    step: int = 0
    steps: int = 0
    minutes: float = 0.0
    minutes_done: float = 0.0
    validation_loss: float | None = None
    accuracy: dict[str, Any] | None = None
    images_per_second: float | None = None
    created: str = ""
    age: float = 0.0

    def table(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)


def list_runs(folder: Path) -> list[RunSummary]:
    """The runs in a folder, by name; or the folder itself, where it is one.

    Raises:
        UserError: there is no such folder.
    """
    return [summarise(path) for path in run_folders(folder)]


def run_folders(folder: Path) -> list[Path]:
    """The folders of what `list_runs` gives; next to nothing of them is read.

    Raises:
        UserError: there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(
            f"{folder}: there are no runs",
            expected="a folder of run folders, or a run folder",
            got="a file" if folder.exists() else "no such folder",
            fix="give the folder that `t2ikit train` wrote to; without --out that is `runs`",
        )
    if any((folder / name).is_file() for name in ("recipe.toml", "run.json")):
        return [folder]
    return [path for path in sorted(folder.iterdir()) if _looks_like_a_run(path)]


def is_export(path: Path) -> bool:
    """Whether a run's folder is an export of it, which has no log and no checkpoints."""
    return (path / "model_index.json").is_file()


def _looks_like_a_run(path: Path) -> bool:
    """Whether enough of a run's files are there; others' folders may have one of the names."""
    try:
        has = [(path / name).is_file() for name in ("recipe.toml", "run.json", "log.jsonl")]
        return any(has[:2]) and (sum(has) > 1 or (path / "checkpoints").is_dir())
    except OSError:
        return False


def summarise(path: Path) -> RunSummary:
    """What can be read off one run folder; what cannot is its `problem`."""
    summary = RunSummary(as_word(path), path.name or path.resolve().name)
    for read in (_read_info, _read_recipe_and_progress, _read_measurements):
        try:
            read(path, summary)
        except UNREADABLE as error:
            summary.problem = summary.problem or " ".join(_reason(error).split())
    if summary.problem:
        summary.state = "damaged"
    return summary


def _reason(error: Exception) -> str:
    if isinstance(error, UserError):
        return f"{error.what} ({error.got})" if error.got is not None else error.what
    return f"no entry {error}" if isinstance(error, KeyError) else f"{error}"


def _read_info(path: Path, summary: RunSummary) -> None:
    """When it began."""
    try:
        info = _object(path / "run.json")
        summary.exported = is_export(path)
        summary.created = str(info["created"])
        began = datetime.strptime(summary.created, "%Y-%m-%dT%H:%M:%S%z").timestamp()
        summary.age = max(0.0, time.time() - began)
        summary.step = int(info.get("step", 0))
    except UNREADABLE as error:
        raise ValueError(f"run.json: {_reason(error)}") from error


def _object(path: Path) -> dict[str, Any]:
    """A file that holds one JSON object."""
    value = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def _read_recipe_and_progress(path: Path, summary: RunSummary) -> None:
    """What is trained on what, and how far it is."""
    try:
        table = load_toml(path / "recipe.toml")
        train = table["train"]
        summary.plugin = str(table["generator"]["use"]).split("/")[0]
        summary.data = str(table["data"]["spec"])
        summary.steps, summary.minutes = int(train["steps"]), float(train.get("minutes", 0))
        weights = {name: float(loss.get("weight", 1)) for name, loss in table["losses"].items()}
    except UNREADABLE as error:
        raise ValueError(f"recipe.toml: {_reason(error)}") from error
    if summary.exported:
        summary.state = "done"
        return
    logged = _read_log(path / "log.jsonl", summary, weights)
    running = is_locked(path)
    _read_checkpoints(path, summary, train, logged if running else None)
    if running:
        summary.state = "running"


def _read_log(log: Path, summary: RunSummary, weights: Mapping[str, float]) -> int:
    """The newest validation loss and images a second; the last step that is logged."""
    last = 0
    for record in _last_lines(log):
        last = last or int(record["step"])
        losses = {key.split("/", 1)[1]: v for key, v in record.items() if key.startswith("validation/")}
        if losses and summary.validation_loss is None and None not in losses.values():
            summary.validation_loss = _finite(sum(weights.get(name, 1) * v for name, v in losses.items()))
        if summary.images_per_second is None and "images_per_second" in record:
            summary.images_per_second = _finite(record["images_per_second"])
        if summary.validation_loss is not None and summary.images_per_second is not None:
            break
    return last


def _finite(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None


def _last_lines(log: Path) -> Iterator[dict[str, Any]]:
    """Lines of a log, the newest first; only the last megabyte is read of a long one."""
    if not log.exists():
        return
    size = log.stat().st_size
    with log.open("rb") as file:
        start = max(0, size - TAIL)
        file.seek(start)
        lines = file.read().split(b"\n")
    for line in reversed(lines[bool(start) : -1]):  # the last is empty, or is just being written
        try:
            record = json.loads(line)
            _ = record["step"] + 0
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError("log.jsonl: a line is damaged") from error
        yield record


def _read_checkpoints(path: Path, summary: RunSummary, train: Mapping[str, Any], logged: int | None) -> None:
    """The steps that going on would start from; of a run that is trained just now, those `logged`."""
    found = checkpoints(path)
    summary.step = step_of(found[-1]) if found else 0
    if logged is not None or not found:
        summary.step = max(summary.step, logged or 0)
        return
    try:
        _check_sizes(found[-1])
        state = read_state(found[-1])
        summary.state = "done" if is_over(summary.step, train, state) else "stopped"
        summary.minutes_done = float(state.get("time", {}).get("seconds", 0)) / 60
    except UNREADABLE as error:
        raise ValueError(f"checkpoints/{found[-1].name}: {_reason(error)}") from error


def _check_sizes(checkpoint: Path) -> None:
    """Whether each file is as long as the manifest says; hashes would take too long."""
    for name, expected in _object(checkpoint / "manifest.json")["files"].items():
        if os.stat(checkpoint / name).st_size != expected["bytes"]:
            raise ValueError(f"{name} is not whole")


def _read_measurements(path: Path, summary: RunSummary) -> None:
    """The prompt accuracy of the newest step that was evaluated, of several the last one measured."""
    found = []
    for file in (path / "evaluations").glob("*/evaluation.json"):
        try:
            table = _object(file)
            measure, step = table["measures"].get(ACCURACY), int(table["settings"]["step"])
            if measure is not None:
                value = {"value": float(measure["value"]), "n": int(measure["n"]), "step": step}
                found.append((step, file.stat().st_mtime_ns, value))
        except UNREADABLE:
            continue  # an evaluation can be made again; the run is none the worse
    if found:
        summary.accuracy = max(found, key=lambda one: one[:2])[2]


COLUMNS = ("run", "plugin", "data", "step", "val loss", "prompts", "img/s", "age", "state")


def row(run: RunSummary) -> list[str]:
    """A run as a person reads it, under COLUMNS."""
    timed = run.minutes and run.state != "done"
    step = f"{run.step}, {run.minutes_done:.1f}/{run.minutes:g} min" if timed else f"{run.step}/{run.steps}"
    local = "://" not in run.data and not run.data.startswith("hf:")
    return [
        visible(run.name),
        visible(run.plugin),
        visible(run.data.rstrip("/").rsplit("/", 1)[-1] if local else run.data),
        step,
        "" if run.validation_loss is None else f"{run.validation_loss:.4g}",
        "" if run.accuracy is None else f"{run.accuracy['value']:.1f} %",
        "" if run.images_per_second is None else f"{run.images_per_second:.0f}",
        age(run.age) if run.created else "",
        run.state,
    ]


def age(seconds: float) -> str:
    """A length of time in its largest unit."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"
