"""Lay a run's validation images side by side, a column for each training step.

    t2ikit train --plugin imagen --plugin ./examples/steps_grid.py --set train.sample_every=100

writes samples/steps.png anew whenever images are drawn. STEPS keeps some of the steps only. An observer
needs no name in a recipe: t2ikit calls it because its file was asked for.
"""

from __future__ import annotations

import os
from pathlib import Path

from PIL import Image

from t2ikit import hookimpl

STEPS = {int(step) for step in os.environ.get("STEPS", "").split(",") if step}
seen: dict[int, list[Image.Image]] = {}


@hookimpl
def t2ikit_images(run: Path, step: int, prompts: list[str], images: list[Image.Image]) -> None:
    """Add a column."""
    from t2ikit.utils.grids import labelled_grid

    if STEPS and step not in STEPS:
        return
    seen[step] = images
    steps = sorted(seen)
    rows = [[seen[step][row] for step in steps] for row in range(len(prompts))]
    labelled_grid(rows, prompts, [f"step {step}" for step in steps]).save(run / "samples" / "steps.png")
