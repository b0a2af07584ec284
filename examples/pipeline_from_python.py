"""A trained run from Python: as a diffusers pipeline, with the schedulers of diffusers to choose from.

    t2ikit train --plugin imagen
    python examples/pipeline_from_python.py runs/imagen-001 "a green cat with red eyes" --out schedulers.png

Draws the prompts with the run's own scheduler and with three others, side by side. A folder that
`t2ikit export RUN --format diffusers` wrote will do as well as a run.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from diffusers import DDIMScheduler, EulerDiscreteScheduler, UniPCMultistepScheduler

from t2ikit import UserError
from t2ikit.utils.grids import labelled_grid
from t2ikit_imagen import ImagenPipeline

OTHERS = (UniPCMultistepScheduler, DDIMScheduler, EulerDiscreteScheduler)


def open_pipeline(run: Path) -> ImagenPipeline:
    """The pipeline of a run or an export, with a scheduler to exchange.

    Raises:
        UserError: it has none.
    """
    exported = (run / "model_index.json").is_file()
    pipeline = ImagenPipeline.from_pretrained(run) if exported else ImagenPipeline.from_run(run)
    if pipeline.scheduler is None:
        raise UserError(
            f"{run} draws without a scheduler of diffusers",
            expected="a run of the imagen plugin, whose sampler is not imagen/flow",
            got=f"sampler {pipeline.config.recipe['sampler']['use']}",
            fix="give another run, such as one of: t2ikit train --plugin imagen",
        )
    return pipeline


def draw(pipeline: ImagenPipeline, prompts: list[str], steps: int, out: Path) -> None:
    """Draw with each scheduler and lay side by side."""
    own = pipeline.scheduler
    columns, names = [], []
    for scheduler in (own, *(kind.from_config(own.config) for kind in OTHERS)):
        pipeline.scheduler = scheduler
        columns.append(pipeline(prompts, num_inference_steps=steps).images)
        names.append(type(scheduler).__name__.removesuffix("Scheduler"))
    labelled_grid([list(row) for row in zip(*columns)], prompts, names).save(out)


def main(
    run: Annotated[Path, typer.Argument(help="A run of the imagen plugin, or its export.")],
    prompts: Annotated[list[str], typer.Argument(help="Captions to draw.")],
    out: Annotated[Path, typer.Option(help="The image to write.")] = Path("schedulers.png"),
    steps: Annotated[int, typer.Option(min=1, help="Of each scheduler.")] = 20,
) -> None:
    """Open, draw and write."""
    try:
        draw(open_pipeline(run), prompts, steps, out)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    print(f"written: {out}")


if __name__ == "__main__":
    typer.run(main)
