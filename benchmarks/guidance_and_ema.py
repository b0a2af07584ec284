"""Guidance, autoguidance and the length of the EMA on the same weights and prompts.

    python benchmarks/guidance_and_ema.py RUN [RUN ...] [-n 512] [--guidance 1,2.5,4]
        [--guides self:250,self:500] [--autoguidance 1.5,2,3] [--ema 0.05,0.1,0.2] [--json FILE]

RUN is a run on creatures, trained with `train.ema_snapshots` for --ema, and with checkpoints of the steps
that --guides names (`train.keep_last`). One image for each of N captions that training never showed, of the
same noise in every row. Joint accuracy is what the reader of creatures finds right in every attribute;
kd-reader, the kernel distance to real images of the same captions in the reader's features. Differences are
to the row that samples the run as its recipe says, with 95 % intervals: of joint over the captions' paired
differences (normal), of kd-reader from resamples of the captions, the same for both rows. Of several runs
the table shows the mean, and the worst. It is printed as Markdown, and written to --json after each row.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import processor
from torch import Tensor

from t2ikit.data.creatures.grammar import parse
from t2ikit.evaluation.data import evaluation_data
from t2ikit.metrics.creature_reader import CreatureReader
from t2ikit.metrics.distances import mmd, polynomial
from t2ikit.metrics.features import ReaderNetwork
from t2ikit.metrics.intervals import Z
from t2ikit.metrics.prompt_accuracy import NAMES
from t2ikit.registry.registry import Registry
from t2ikit.runs.open import open_run
from t2ikit.runs.run import Run
from t2ikit.sampling.images import sample_images
from t2ikit.sampling.open import open_model
from t2ikit.utils.images import from_uint8
from t2ikit.utils.progress import progress_bar

RESAMPLES = 200
BATCH = 256


@dataclass(frozen=True)
class Row:
    """One way to sample.

    Attributes:
        name: of the row.
        settings: of the sampler.
        ema: length of the average; None: the one that training kept.
    """

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    ema: float | None = None


@dataclass(frozen=True)
class Found:
    """What came of a row.

    Attributes:
        right: whether each image shows all that was asked for (N,), 0 or 1.
        features: of the images (N, D), float64.
        seconds: an image.
        calls: network calls an image.
    """

    right: np.ndarray
    features: np.ndarray
    seconds: float
    calls: float


def rows_of(options: argparse.Namespace) -> list[Row]:
    """The recipe's own sampling first, which the others are compared with."""
    rows = [Row("as trained")]
    rows += [Row(f"guidance {w:g}", {"guidance": w}) for w in options.guidance]
    for guide, weight, guidance in itertools.product(options.guides, options.autoguidance, (1.0, None)):
        settings = {"guidance_model": json.dumps(guide), "autoguidance": weight}
        beside = "" if guidance is None else f", guidance {guidance:g}"
        rows.append(
            Row(
                f"autoguidance {weight:g} by {guide}{beside}",
                settings | ({} if guidance is None else {"guidance": guidance}),
            )
        )
    return rows + [Row(f"EMA {width:g}", {}, width) for width in options.ema]


class Bench:
    """Samples and measures rows on one run.

    Args:
        run: a run on creatures.
        count: of prompts.
    """

    def __init__(self, run: Run, count: int) -> None:
        self.run = run
        dataset = evaluation_data(run, Registry.load(), None)
        self.prompts = list(dict.fromkeys(dataset.prompts(count, 0)))
        self.wanted = [parse(prompt) for prompt in self.prompts]
        self.reader, self.network = CreatureReader(), ReaderNetwork().open()
        drawn = dataset.images(self.prompts, 0)
        assert drawn is not None
        self.real = self.features(from_uint8(torch.stack(drawn)))
        self.resamples = np.random.default_rng(0).integers(
            len(self.prompts), size=(RESAMPLES, len(self.prompts))
        )

    def features(self, images: Tensor) -> np.ndarray:
        """Features (N, D) of images (N, 3, H, W)."""
        return self.network(images, BATCH).double().numpy()

    def sample(self, row: Row) -> Found:
        """Sample and read."""
        settings = [f"sampler.{key}={value}" for key, value in row.settings.items()]
        model = open_model(self.run, settings=settings, ema=row.ema, device="cpu")
        with progress_bar(row.name) as progress:
            began = time.perf_counter()
            images = sample_images(model, self.prompts, progress=progress)
            seconds = (time.perf_counter() - began) / len(images)
        readings = self.reader(images, batch=BATCH)
        right = [
            all(getattr(want, field) == getattr(read, field) for field in NAMES.values())
            for want, read in zip(self.wanted, readings)
        ]
        calls = model.sampler.function_evaluations / len(images)
        return Found(np.array(right, dtype=float), self.features(images), seconds, calls)

    def kernel(self, found: Found) -> tuple[float, np.ndarray]:
        """The kernel distance, and that of each resample of the captions (R,)."""
        ours, real = found.features, self.real
        kernels = polynomial(ours, ours), polynomial(ours, real), polynomial(real, real)

        def distance(places: np.ndarray) -> float:
            return mmd(*(kernel[np.ix_(places, places)] for kernel in kernels), places, places)

        return distance(np.arange(len(ours))), np.array([distance(places) for places in self.resamples])


def difference(mean: float, spread: float) -> list[float]:
    """A difference with its 95 % interval."""
    return [round(float(value), 4) for value in (mean, mean - Z * spread, mean + Z * spread)]


def measure(run: Run, rows: list[Row], count: int, keep: Any) -> list[dict[str, Any]]:
    """Every row of one run; `keep` is called with the rows so far."""
    bench, made = Bench(run, count), []
    base: tuple[Found, tuple[float, np.ndarray]] | None = None
    for row in rows:
        found = bench.sample(row)
        kernel = bench.kernel(found)
        base = base or (found, kernel)
        paired = 100 * (found.right - base[0].right)
        made.append(
            {
                "row": row.name,
                "joint": round(100 * float(found.right.mean()), 2),
                "joint_difference": difference(paired.mean(), paired.std(ddof=1) / math.sqrt(len(paired))),
                "kd_reader": round(kernel[0], 4),
                "kd_difference": difference(kernel[0] - base[1][0], (kernel[1] - base[1][1]).std(ddof=1)),
                "calls": found.calls,
                "milliseconds": round(1000 * found.seconds, 1),
            }
        )
        print(f"{run.path.name}: {made[-1]}", flush=True)
        keep(made)
    return made


def markdown(results: dict[str, list[dict[str, Any]]]) -> str:
    """A line for each row: means over the runs, and the worst run in brackets."""
    lines = [
        f"| {len(results)} run(s) | joint, % | difference | kd-reader | difference | network calls |",
        "|---|---|---|---|---|---|",
    ]
    for same in zip(*results.values()):
        joint, kd = [one["joint"] for one in same], [one["kd_reader"] for one in same]
        cells = [
            same[0]["row"],
            f"{np.mean(joint):.1f} (worst {min(joint):.1f})",
            shown([one["joint_difference"] for one in same], ".1f"),
            f"{np.mean(kd):.2f} (worst {max(kd):.2f})",
            shown([one["kd_difference"] for one in same], ".2f"),
            f"{same[0]['calls']:g}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def shown(differences: list[list[float]], digits: str) -> str:
    """The mean of differences with the interval of the mean over these runs, each run's own noise pooled."""
    means, lows = np.array([one[0] for one in differences]), np.array([one[1] for one in differences])
    reach = float(np.sqrt(((means - lows) ** 2).sum()) / len(means))
    mean = float(means.mean())
    return f"{mean:+{digits}} [{mean - reach:+{digits}}, {mean + reach:+{digits}}]"


def numbers(text: str) -> list[float]:
    """Numbers with commas between them; none for an empty text."""
    return [float(part) for part in text.split(",") if part]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("-n", type=int, default=512)
    parser.add_argument("--guidance", type=numbers, default="1,1.5,4")
    parser.add_argument("--guides", type=lambda text: [part for part in text.split(",") if part],
                        default="self:250,self:500")  # fmt: skip
    parser.add_argument("--autoguidance", type=numbers, default="1.5,2,3")
    parser.add_argument("--ema", type=numbers, default="0.05,0.1,0.15,0.2")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/guidance-and-ema.json"))
    options = parser.parse_args()
    results: dict[str, list[dict[str, Any]]] = {}

    def keep(name: str, made: list[dict[str, Any]]) -> None:
        results[name] = made
        report = {"n": options.n, "processor": processor("cpu"), "runs": results}
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report, indent=2) + "\n")

    for path in options.runs:
        run = open_run(path)
        measure(run, rows_of(options), options.n, lambda made, name=path.name: keep(name, made))
    print(markdown(results))


if __name__ == "__main__":
    main()
