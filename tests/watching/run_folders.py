"""Run folders as `t2ikit train` leaves them, made by hand: nothing is trained."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

RECIPE = """[train]
steps = 100
[generator]
use = "toys/square"
[data]
spec = "squares"
[losses.denoise]
"""


def line(step: int, **values: object) -> str:
    return json.dumps({"step": step, **values}) + "\n"


def rows(steps: Iterable[int]) -> str:
    return "".join(line(step, **{"loss/denoise": 1 / step, "lr/generator": 1e-3}) for step in steps)


def make_run(folder: Path, log: str = "", grids: Iterable[int] = ()) -> Path:
    (folder / "samples").mkdir(parents=True)
    (folder / "recipe.toml").write_text(RECIPE)
    (folder / "run.json").write_text(json.dumps({"created": "2026-01-01T00:00:00+0000"}))
    (folder / "log.jsonl").write_text(log)
    for step in grids:
        Image.new("RGB", (4, 4), (step % 256, 0, 0)).save(folder / "samples" / f"step-{step:08d}.png")
    return folder


def checkpoint(run: Path, step: int) -> None:
    folder = run / "checkpoints" / f"step-{step:08d}"
    folder.mkdir(parents=True)
    (folder / "state.json").write_text(json.dumps({"step": step}))
    size = (folder / "state.json").stat().st_size
    (folder / "manifest.json").write_text(json.dumps({"files": {"state.json": {"bytes": size}}}))
