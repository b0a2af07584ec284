"""Images a second that the loader gives, from the cache of resized images to batches.

    python benchmarks/loader.py [--data openmoji] [--size 64] [--json FILE]

The dataset is opened twice: the first time reads and resizes what the cache lacks, the second is what every
later run sees. Then batches are made as training makes them, captions drawn and wrong captions chosen, with
the built-in text encoder.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Annotated

import typer
from measuring import processor

from t2ikit.data.loader import BatchLoader
from t2ikit.recipes.datasets import find_dataset
from t2ikit.registry.registry import Registry
from t2ikit.text.builtin import BuiltinTextEncoder
from t2ikit.text.configs import BuiltinTextConfig
from t2ikit.utils.files import write_json


def main(
    data: Annotated[str, typer.Option(help="A SPEC, as for t2ikit train.")] = "openmoji",
    size: Annotated[int, typer.Option(help="Side of the images, pixels.")] = 64,
    batch: Annotated[int, typer.Option(help="Images a step.")] = 64,
    steps: Annotated[int, typer.Option(help="Steps of each of five measurements.")] = 100,
    json: Annotated[Path | None, typer.Option(help="Write the numbers here.")] = None,
) -> None:
    """Time opening a dataset and making batches of it."""
    entry = find_dataset(Registry.load(), data)
    opened = []
    for _ in range(2):
        began = time.perf_counter()
        dataset = entry.spec.build(entry.spec.config(spec=data, size=size), None)
        opened.append(time.perf_counter() - began)
    encoder = BuiltinTextEncoder(BuiltinTextConfig())
    shares = BatchLoader(dataset, 0, batch)
    speeds = []
    for turn in range(6):
        began = time.perf_counter()
        for step in range(turn * steps, (turn + 1) * steps):
            shares[step].batch(encoder, "cpu")
        speeds.append(batch * steps / (time.perf_counter() - began))
    table = {
        "machine": processor("cpu"),
        "data": data,
        "size": size,
        "batch": batch,
        "images": dataset.size("train"),
        "seconds to open": [round(seconds, 2) for seconds in opened],
        "images a second": round(statistics.median(speeds[1:])),
    }
    for name, value in table.items():
        print(f"{name}: {value}")
    if json is not None:
        write_json(json, table)


if __name__ == "__main__":
    typer.run(main)
