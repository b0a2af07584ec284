"""Trainings of benchmarks, which go on where they were stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import t2ikit


def trained(out: Path, train: Callable[[], t2ikit.Run]) -> t2ikit.Run:
    """The run in a folder: what `train` makes where there is none; one that was stopped goes on."""
    if not (out / "run.json").is_file():
        return train()
    run = t2ikit.open_run(out)
    return run if run.finished else t2ikit.train(resume=out, device="cpu")
