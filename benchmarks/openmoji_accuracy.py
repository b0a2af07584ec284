"""Does a run on emoji draw what it is asked for? A classifier trained apart names its images.

    python benchmarks/openmoji_accuracy.py RUN [--json FILE] [--grid FILE.png]

Draws training captions, and asks a classifier that knows every training image (and saw none of the
run's) which one each drawing shows. Prints how often the named image is its first guess and among its
first five, the same for drawings set beside other captions (chance), the classifier's own share of right
answers on roughened drawings, and how often the nearest training image, pixel by pixel, is the named one.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from measuring import processor
from picture_classifier import ImageClassifier, open_classifier, ranks, varied
from PIL import Image
from torch import Tensor

from t2ikit import Dataset
from t2ikit.errors import UserError
from t2ikit.evaluation.data import evaluation_data
from t2ikit.metrics.prompt_accuracy import wilson
from t2ikit.registry.registry import Registry
from t2ikit.runs.open import open_run
from t2ikit.sampling.images import sample_images
from t2ikit.sampling.open import open_model
from t2ikit.utils.files import write_json
from t2ikit.utils.grids import contact_sheet
from t2ikit.utils.images import to_pil

SEED = 4_711


def training_images(dataset: Dataset) -> tuple[Tensor, list[str]]:
    """All training images (N, 3, 32, 32) in [-1, 1], and the first caption of each."""
    records = [dataset.record("train", index) for index in range(dataset.size("train"))]
    return torch.stack([r.image for r in records]) / 127.5 - 1, [r.captions[0] for r in records]


def share(hits: Tensor) -> dict[str, Any]:
    """Percent, with Wilson's 95 % interval."""
    n, right = len(hits), int(hits.sum())
    low, high = wilson(right, n)
    shares = {"percent": right / n, "low": low, "high": high}
    return {name: round(100 * value, 1) for name, value in shares.items()} | {"n": n}


def judge(net: ImageClassifier, images: Tensor, pictures: Tensor, asked: Tensor) -> dict[str, Any]:
    """All shares; `asked` (B,) are the places of the captions' own images."""
    generator = torch.Generator().manual_seed(SEED + 1)
    own = torch.cat(
        [ranks(net, varied(pictures[p], generator), p) for p in torch.arange(len(pictures)).split(128)]
    )
    rank, other = ranks(net, images, asked), ranks(net, images, asked.roll(1))
    return {
        "first guess": share(rank < 1),
        "among the first five": share(rank < 5),
        "median place of the named image among the guesses": 1 + int(rank.median()),
        "beside other captions, first five": share(other < 5),
        "the classifier on roughened drawings, first guess": share(own < 1),
        "the classifier on roughened drawings, first five": share(own < 5),
        "nearest training picture is the named one": share(nearest(images, pictures) == asked),
    }


def nearest(images: Tensor, pictures: Tensor) -> Tensor:
    """Place (B,) of the training image at the least distance in pixels."""
    return torch.cdist(images.flatten(1), pictures.flatten(1)).argmin(1)


def pairs(images: Tensor, pictures: Tensor, captions: list[str], asked: Tensor, count: int) -> Image.Image:
    """A sheet: each drawing, its nearest training image, and what was asked for; `count` of them at most."""
    count = min(count, len(images))
    near = nearest(images, pictures)
    beside = [torch.cat([images[i], pictures[near[i]]], 2) for i in range(count)]
    texts = [
        f"{captions[asked[i]]}" + ("" if near[i] == asked[i] else f" (right: {captions[near[i]]})")
        for i in range(count)
    ]
    return contact_sheet(to_pil(torch.stack(beside)), texts, columns=5)


def main(
    path: Annotated[Path, typer.Argument(metavar="RUN", help="A run of openmoji-32 or fluent-emoji-32.")],
    json: Annotated[Path | None, typer.Option(help="Write the numbers here.")] = None,
    grid: Annotated[
        Path | None, typer.Option(help="Write drawings beside their nearest images here.")
    ] = None,
    n: Annotated[int, typer.Option(help="Training captions to draw.")] = 100,
    seed: Annotated[int, typer.Option(help="Of the captions and of the drawings.")] = 0,
    guidance: Annotated[float | None, typer.Option(help="As in t2ikit sample.")] = None,
    checkpoint: Annotated[int | None, typer.Option(help="As in t2ikit sample.")] = None,
    classifier: Annotated[Path | None, typer.Option(help="Keep the classifier here, for other runs.")] = None,
    classifier_steps: Annotated[int, typer.Option(help="Steps to train the classifier.")] = 1000,
) -> None:
    """Draw training captions of a run and count how many are recognised."""
    run = open_run(path)
    if run.image_size != 32:
        raise UserError(f"{path}: its images have {run.image_size} pixels", expected="32", fix="another run")
    pictures, captions = training_images(evaluation_data(run, Registry.load(), None))
    asked = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(seed))[:n]
    model = open_model(run, checkpoint=checkpoint)
    net = open_classifier(classifier, pictures, classifier_steps, SEED)
    began = time.perf_counter()
    images = sample_images(model, [captions[place] for place in asked], seed=seed, guidance=guidance).clamp(
        -1, 1
    )
    table = {
        "run": path.name,
        "machine": processor("cpu"),
        "guidance": model.sampler.guidance if guidance is None else guidance,
        "seconds to draw": round(time.perf_counter() - began, 1),
        **judge(net, images, pictures, asked),
    }
    for name, value in table.items():
        print(f"{name}: {value}")
    if json is not None:
        write_json(json, table)
    if grid is not None:
        pairs(images, pictures, captions, asked, 30).save(grid)


if __name__ == "__main__":
    typer.run(main)
