"""Measure a run at each of its checkpoints, and lay their images side by side.

    python examples/study/curve.py RUN --out FILE.json [--clip FOLDER] [-n 256]

Writes FILE.json, a list with the step and the numbers of each checkpoint, and FILE.png, the same prompts and
noise at each.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from t2ikit import open_run
from t2ikit.evaluation.evaluator import measure_run
from t2ikit.evaluation.results import EvaluationOptions
from t2ikit.runs import checkpoint as ckpt
from t2ikit.sampling.images import sample_images
from t2ikit.sampling.open import open_model
from t2ikit.utils.files import write_json
from t2ikit.utils.grids import labelled_grid
from t2ikit.utils.images import to_pil

SHOWN = 5
"""Prompts of the image."""


def main(
    run: Annotated[Path, typer.Argument(help="A run that kept its checkpoints.")],
    out: Annotated[Path, typer.Option(help="The JSON file; the image goes beside it.")],
    clip: Annotated[Path | None, typer.Option(help="A CLIP that judges, too.")] = None,
    n: Annotated[int, typer.Option("-n", min=SHOWN, help="Prompts a checkpoint is measured on.")] = 256,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Measure every checkpoint of a run."""
    metrics = ["prompt-accuracy", *(["clip-score"] if clip else [])]
    settings = [f"metrics.clip-score.model={clip}"] if clip else []
    rows: list[dict[str, Any]] = []
    columns = []
    steps = [ckpt.step_of(path) for path in ckpt.checkpoints(run)]
    for step in steps:
        question = EvaluationOptions(
            metrics=metrics, n=n, repeated_prompts=0, settings=settings, checkpoint=step
        )
        found = measure_run(run, question, device=device)
        rows.append({"step": step, **{name: measure.value for name, measure in found.measures.items()}})
        prompts = found.image_set.prompts[:SHOWN]
        columns.append(
            to_pil(sample_images(open_model(open_run(run), checkpoint=step, device=device), prompts))
        )
        typer.echo(f"step {step}")
    grid = labelled_grid([list(row) for row in zip(*columns)], prompts, [f"step {step}" for step in steps])
    grid.save(out.with_suffix(".png"))
    write_json(out, rows)


if __name__ == "__main__":
    typer.run(main)
