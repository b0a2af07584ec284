"""What benchmarks of runs on `creatures` share: figures kept beside the run, and paired differences."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import t2ikit
from t2ikit.data.creatures.grammar import parse
from t2ikit.metrics.creature_reader import CreatureReader
from t2ikit.metrics.prompt_accuracy import NAMES

Z = 1.959963984540054
METRICS = ("prompt-accuracy", "reader-distance", "reader-diversity")


def measured(run: Path, n: int, kept: Path | None = None) -> dict[str, Any]:
    """A run's figures, and for each prompt whether all of it was sampled right.

    They are kept in the run's folder, or in `kept`, where the run is a model that comes with t2ikit.
    """
    file = (kept or run) / f"benchmark-{n}.json"
    if file.is_file():
        found: dict[str, Any] = json.loads(file.read_text())
        return found
    result = t2ikit.evaluate(str(run), metrics=METRICS, n=n, write=False)
    images = result.image_set
    assert images is not None
    table = {
        "measures": {name: measure.value for name, measure in result.measures.items()},
        "milliseconds": 1000 * result.costs.seconds / result.costs.images,
        "calls": result.costs.calls,
        "right": right(images.prompts, images.images),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(table))
    return table


def right(prompts: Sequence[str], images: Any) -> list[bool]:
    """For each prompt, whether the reader finds all that it names."""
    wanted = [parse(prompt) for prompt in prompts]
    return [
        all(getattr(one, field) in (None, getattr(read, field)) for field in NAMES.values())
        for one, read in zip(wanted, CreatureReader()(images), strict=True)
    ]


def difference(student: Sequence[bool], teacher: Sequence[bool]) -> tuple[float, float, float]:
    """Mean difference over the same prompts in points, with its 95 % interval."""
    apart = 100.0 * (np.array(student, float) - np.array(teacher, float))
    mean, reach = float(apart.mean()), Z * float(apart.std(ddof=1)) / len(apart) ** 0.5
    return mean, mean - reach, mean + reach


def minutes_of(run: Path) -> float:
    """Minutes of training, from the rates in its log."""
    table = t2ikit.open_run(run)
    batch, lines = table.table["train"]["batch"], table.log()
    done, seconds = 0, 0.0
    for line in lines:
        if line.get("images_per_second"):
            seconds += (line["step"] - done) * batch / line["images_per_second"]
            done = line["step"]
    return seconds / 60


def publish(lines: Sequence[str], path: Path | None) -> None:
    """Print the lines of a table, and write them to a file, where one is asked for."""
    text = "\n".join(lines) + "\n"
    print(text)
    if path is not None:
        path.write_text(text)
