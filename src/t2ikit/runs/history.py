"""What changes in a run folder while it is trained: its settings, when it goes on with others."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from t2ikit.config.toml import dump_toml
from t2ikit.recipes.schema import TrainConfig
from t2ikit.runs.run import Run
from t2ikit.utils.files import write_json, write_text

LENGTH = ("train.steps", "train.minutes")
"""What the schedule of the learning rate depends on."""


def amended(run: Run, config: TrainConfig, step: int) -> Run:
    """The run with other training settings, which its history tells; the same run where nothing differs.

    Args:
        run: as it was.
        config: what `[train]` is from now on.
        step: steps done.
    """
    table = run.table["train"]
    old = {**TrainConfig.model_validate({}).model_dump(mode="json"), **table}
    new = config.model_dump(mode="json")
    changes = {
        f"train.{key}": {"from": old.get(key), "to": value}
        for key, value in new.items()
        if old.get(key) != value
    }
    if not changes:
        return run
    entry = {"step": step, "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "changes": changes}
    info = {**run.info, "history": [*run.info.get("history", []), entry]}
    return replace(run, table={**run.table, "train": {**table, **new}}, info=info)


def write_run(run: Run) -> None:
    """Write recipe.toml and run.json, each beside and renamed.

    Raises:
        OSError: the folder cannot be written.
    """
    write_text(run.path / "recipe.toml", dump_toml(run.table))
    write_json(run.path / "run.json", run.info)


def changed_since(run: Run, key: str, step: int) -> bool:
    """Whether a setting was changed when `step` steps were done, or later."""
    return any(key in entry["changes"] and entry["step"] >= step for entry in run.info.get("history", []))


def describe_changes(changes: Mapping[str, Any], *, decays: bool) -> list[str]:
    """A line for each changed setting.

    Args:
        changes: of an entry of the history.
        decays: some learning rate falls until the end of the run.
    """
    lines = [f"{key} is now {change['to']} (it was {change['from']})" for key, change in changes.items()]
    if decays and any(key in changes for key in LENGTH):
        lines.append(
            "the learning rate's schedule is computed anew for that, so the result is not that of a run that "
            "began with it"
        )
    return lines
