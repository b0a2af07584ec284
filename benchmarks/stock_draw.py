"""Draw with diffusers alone: `t2ikit export RUN --format if` opened where t2ikit is not installed.

    python benchmarks/stock_draw.py EXPORT PROMPTS.txt OUT [--steps 20] [--guidance 2.5] [--batch 64]

Writes OUT/00000.png, ... in the order of the lines. `stock_diffusers.py` calls it in another environment.
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

import torch
from diffusers import DiffusionPipeline


def main() -> None:
    """Parse and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("export", type=Path)
    parser.add_argument("prompts", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=2.5)
    parser.add_argument("--batch", type=int, default=64)
    given = parser.parse_args()
    if importlib.util.find_spec("t2ikit") is not None:
        parser.error("this environment has t2ikit: it would prove nothing")
    prompts = given.prompts.read_text(encoding="utf-8").splitlines()
    pipeline = DiffusionPipeline.from_pretrained(given.export)
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    given.out.mkdir(parents=True)
    for start in range(0, len(prompts), given.batch):
        images = pipeline(
            prompts[start : start + given.batch],
            num_inference_steps=given.steps,
            guidance_scale=given.guidance,
            generator=generator,
        ).images
        for number, image in enumerate(images, start):
            image.save(given.out / f"{number:05}.png")
    print(f"{type(pipeline).__name__}: {len(prompts)} images")


if __name__ == "__main__":
    main()
