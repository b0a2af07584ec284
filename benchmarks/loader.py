"""Images a second that the loader gives, from the cache of resized images to batches.

    python benchmarks/loader.py [--data openmoji] [--size 64] [--json FILE]

The dataset is opened twice: the first time reads and resizes what the cache lacks, the second is what every
later run sees. Then batches are made as training makes them on a CPU, captions drawn and wrong captions
chosen, with the built-in text encoder: with 0, 1 and 2 worker processes, and with images and texts that lie
on the device. Of creatures there are as many as the steps of one measurement show, and their first epoch is
timed too, with an empty cache and a full one. With --stream, shards are streamed.
"""

from __future__ import annotations

import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from measuring import processor

from t2ikit.core.interfaces import Dataset, StreamingDataset
from t2ikit.data.creatures.dataset import Creatures
from t2ikit.data.feed.batches import BatchMaker
from t2ikit.data.feed.resident import ResidentImages
from t2ikit.data.loader import BatchLoader, StreamLoader
from t2ikit.recipes.datasets import find_dataset
from t2ikit.registry.registry import Registry
from t2ikit.text.builtin import default_encoder
from t2ikit.utils.files import CACHE_VARIABLE, write_json

CPU = torch.device("cpu")
TURNS = 5


def steady(batches: Iterator[Any], maker: BatchMaker, batch: int, steps: int) -> int:
    """Images a second, the median of five times `steps` batches after as many that warm up."""
    speeds = []
    for _ in range(TURNS + 1):
        began = time.perf_counter()
        for local_batch in itertools.islice(batches, steps):
            maker.batch(local_batch)
        speeds.append(batch * steps / (time.perf_counter() - began))
    return round(statistics.median(speeds[1:]))


def first_epoch(dataset: Dataset, batch: int, most: int) -> int:
    """Images a second of the first `most` images of a dataset, each for the first time."""
    maker = BatchMaker(default_encoder(), CPU, batch, batch)
    steps = min(most, dataset.size("train")) // batch
    began = time.perf_counter()
    for local_batch in BatchLoader(dataset, 0, batch).steps(0, steps):
        maker.batch(local_batch)
    return round(batch * steps / (time.perf_counter() - began))


def indexed(dataset: Dataset, size: int, batch: int, steps: int) -> dict[str, int]:
    """Speeds of a dataset that is read by index, by where its images lie and who prepares them."""
    speeds = {}
    for workers in (0, 1, 2):
        maker = BatchMaker(default_encoder(), CPU, batch, batch)
        with closing(BatchLoader(dataset, 0, batch, num_workers=workers).steps()) as batches:
            speeds[f"on the host, {workers} workers"] = steady(batches, maker, batch, steps)
    for workers in (0, 2):
        resident = ResidentImages(dataset.size("train"), size, CPU)
        maker = BatchMaker(default_encoder(), CPU, batch, batch, resident=resident)
        loader = BatchLoader(dataset, 0, batch, num_workers=workers)
        with closing(loader.indexed_steps(size)) as batches:
            speeds[f"on the device, {workers} workers"] = steady(batches, maker, batch, steps)
    return speeds


def streamed(dataset: StreamingDataset, batch: int, steps: int) -> dict[str, int]:
    """Speeds of a stream."""
    speeds = {}
    for workers in (0, 1):
        maker = BatchMaker(default_encoder(), CPU, batch, batch)
        with closing(StreamLoader(dataset, 0, batch, num_workers=workers).steps()) as batches:
            speeds[f"a stream, {workers} workers"] = steady(batches, maker, batch, steps)
    return speeds


def drawn(dataset: Creatures, batch: int, most: int) -> dict[str, int]:
    """Speeds of creatures that are drawn, and of those that were drawn before."""
    speeds, before = {}, os.environ.get(CACHE_VARIABLE)
    with tempfile.TemporaryDirectory() as folder:
        os.environ[CACHE_VARIABLE] = folder
        for name in ("not yet drawn", "drawn before"):
            speeds[f"first epoch, {name}"] = first_epoch(Creatures(dataset.config), batch, most)
        os.environ.pop(CACHE_VARIABLE)
    if before is not None:
        os.environ[CACHE_VARIABLE] = before
    return speeds


def main(
    data: Annotated[str, typer.Option(help="A SPEC, as for t2ikit train.")] = "openmoji",
    size: Annotated[int, typer.Option(help="Side of the images, pixels.")] = 64,
    batch: Annotated[int, typer.Option(help="Images a step.")] = 64,
    steps: Annotated[int, typer.Option(help="Steps of each of five measurements.")] = 100,
    stream: Annotated[bool, typer.Option(help="Stream the shards.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write the numbers here.")] = None,
) -> None:
    """Time opening a dataset and making batches of it."""
    entry = find_dataset(Registry.load(), data)
    options: dict[str, Any] = {"stream": True} if stream else {}
    if data == "creatures":
        options = {"count": batch * steps, "validation": 0}
    opened = []
    for _ in range(2):
        began = time.perf_counter()
        dataset = entry.spec.build(entry.spec.config(spec=data, size=size, **options), None)
        opened.append(time.perf_counter() - began)
    table: dict[str, Any] = {"machine": processor("cpu"), "data": data, "size": size, "batch": batch}
    table["seconds to open"] = [round(seconds, 2) for seconds in opened]
    if isinstance(dataset, StreamingDataset):
        table["images a second"] = streamed(dataset, batch, steps)
    else:
        table["images"] = dataset.size("train")
        once = drawn(dataset, batch, dataset.size("train")) if isinstance(dataset, Creatures) else {}
        table["images a second"] = {**once, **indexed(dataset, size, batch, steps)}
    for name, value in table.items():
        print(f"{name}: {value}")
    if json is not None:
        write_json(json, table)


if __name__ == "__main__":
    typer.run(main)
