"""Does stock diffusers draw as well as t2ikit with an `imagen/imagen-if` run?

    python -m venv stock && stock/bin/pip install torch diffusers transformers
    python benchmarks/stock_diffusers.py RUN --python stock/bin/python [--json FILE]

Exports the run for DeepFloyd IF's pipeline, lets another interpreter that has no t2ikit draw the captions
that `t2ikit evaluate` would, and reads both sets of images: prompt accuracy in per cent, 95 % intervals.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from measuring import processor
from PIL import Image

from t2ikit import open_run
from t2ikit.evaluation.data import evaluation_data
from t2ikit.exporters.export import export
from t2ikit.metrics.creature_reader import CreatureReader
from t2ikit.metrics.prompt_accuracy import measure, parse
from t2ikit.registry.registry import Registry
from t2ikit.sampling.images import sample_images
from t2ikit.sampling.open import open_model
from t2ikit.utils.files import write_json
from t2ikit.utils.grids import labelled_grid
from t2ikit.utils.images import as_saved, from_pil, to_pil

SHOWN = 6


def main(
    path: Annotated[Path, typer.Argument(metavar="RUN", help="A run of imagen/imagen-if.")],
    python: Annotated[Path, typer.Option(help="An interpreter with diffusers and without t2ikit.")],
    json: Annotated[Path | None, typer.Option(help="Write the numbers here.")] = None,
    grid: Annotated[Path | None, typer.Option(help="Write images of both here.")] = None,
    n: Annotated[int, typer.Option("-n", help="Captions never trained on.")] = 512,
    steps: Annotated[int, typer.Option(help="Of both samplers.")] = 20,
    guidance: Annotated[float, typer.Option(help="Of both samplers.")] = 2.5,
) -> None:
    """Draw with both and compare."""
    run = open_run(path)
    prompts = evaluation_data(run, Registry.load(), None).prompts(n, 0)
    ours = as_saved(sample_images(open_model(run), prompts, steps=steps, guidance=guidance))
    with tempfile.TemporaryDirectory() as folder:
        exported, lines, out = (Path(folder) / name for name in ("export", "prompts.txt", "out"))
        export(path, "if", out=exported)
        lines.write_text("\n".join(prompts), encoding="utf-8")
        script = Path(__file__).with_name("stock_draw.py")
        words = [python, script, exported, lines, out, "--steps", steps, "--guidance", guidance]
        subprocess.run([str(word) for word in words], check=True)
        stock = from_pil([Image.open(file) for file in sorted(out.glob("*.png"))])
    table = {name: accuracy(prompts, images) for name, images in (("t2ikit", ours), ("stock", stock))}
    for name, values in table.items():
        print(name, values)
    if json is not None:
        told = {"run": path.name, "step": run.step(), "seed": run.info["seed"], "machine": processor("cpu")}
        drawn = {"images": len(prompts), "steps": steps, "guidance": guidance}
        write_json(json, {**told, **versions(python), **drawn, **table})
    if grid is not None:
        rows = [list(row) for row in zip(to_pil(ours[:SHOWN]), to_pil(stock[:SHOWN]))]
        labelled_grid(rows, prompts[:SHOWN], ["t2ikit", "diffusers"]).save(grid)


def versions(python: Path) -> dict[str, str]:
    """Of torch, diffusers and transformers where the stock pipeline draws."""
    names = ("torch", "diffusers", "transformers")
    code = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    done = subprocess.run([python, "-c", code, *names], check=True, capture_output=True, text=True)
    return dict(zip(names, done.stdout.split()))


def accuracy(prompts: list[str], images: torch.Tensor) -> dict[str, Any]:
    """Per cent of prompts followed, attribute by attribute, as [value, low, high]."""
    wanted = [parse(prompt) for prompt in prompts]
    found = measure(wanted, CreatureReader()(images))  # type: ignore[arg-type]
    return {
        name: [round(value, 1) for value in (each.value, each.low or 0, each.high or 0)]
        for name, each in found.items()
        if "/" not in name
    }


if __name__ == "__main__":
    typer.run(main)
