"""Two samplers on the same weights: prompt accuracy on the same captions, paired, and time.

    python benchmarks/samplers.py RUN [-n 256] [--fast dpm++:20] [--slow ddpm:1000] [--processes 2]

Draws one image for each of N captions that training never showed with either sampler, lets the reader of
creatures say what it sees, and prints for each attribute the difference fast - slow in points with its 95 %
interval (normal, over the captions' paired differences), and the ratio of the times.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor

from t2ikit.data.creatures.grammar import parse
from t2ikit.evaluation.data import evaluation_data
from t2ikit.metrics.creature_reader import CreatureReader
from t2ikit.metrics.prompt_accuracy import NAMES
from t2ikit.registry.registry import Registry
from t2ikit.runs.open import open_run
from t2ikit.sampling.images import sample_images
from t2ikit.sampling.open import open_model
from t2ikit.utils.progress import progress_bar


@dataclass(frozen=True)
class Job:
    """Some of the images that one sampler draws, in a process of its own.

    Attributes:
        sampler: NAME:STEPS.
        guidance: the same for both samplers.
        threads: of the process.
    """

    run: Path
    sampler: str
    guidance: float | None
    prompts: list[str]
    threads: int

    def draw(self) -> tuple[Tensor, float]:
        """Images (N, 3, H, W), and the seconds that sampling took, the model's opening apart."""
        torch.set_num_threads(self.threads)
        name, _, steps = self.sampler.partition(":")
        model = open_model(open_run(self.run), sampler=name)
        with progress_bar(f"drawing with {self.sampler}") as progress:
            began = time.perf_counter()
            images = sample_images(
                model, self.prompts, steps=int(steps), guidance=self.guidance, progress=progress
            )
            return images, time.perf_counter() - began


def draw(options: argparse.Namespace, sampler: str, prompts: list[str]) -> tuple[Tensor, float]:
    """Images of all prompts, and the seconds they took: those of the slowest process."""
    count = options.processes
    threads = max(1, torch.get_num_threads() // count)
    parts = [prompts[i * len(prompts) // count : (i + 1) * len(prompts) // count] for i in range(count)]
    jobs = [Job(options.run, sampler, options.guidance, part, threads) for part in parts]
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
        images, seconds = zip(*pool.map(Job.draw, jobs))
    return torch.cat(images), max(seconds)


def hits(images: Tensor, prompts: list[str]) -> dict[str, Tensor]:
    """For each attribute whether each image shows it (N,), and "mean" over the four."""
    wanted, read = [parse(prompt) for prompt in prompts], CreatureReader()(images)
    found = {
        name: torch.tensor([float(getattr(w, field) == getattr(r, field)) for w, r in zip(wanted, read)])
        for name, field in NAMES.items()
    }
    return {**found, "mean": torch.stack(list(found.values())).mean(0)}


def difference(fast: Tensor, slow: Tensor) -> dict[str, float]:
    """Mean paired difference in points, with its 95 % interval."""
    paired = 100 * (fast - slow)
    reach = 1.96 * float(paired.std()) / math.sqrt(len(paired))
    mean = float(paired.mean())
    return {"fast": 100 * float(fast.mean()), "slow": 100 * float(slow.mean()), "difference": mean,
            "low": mean - reach, "high": mean + reach}  # fmt: skip


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("-n", type=int, default=256)
    parser.add_argument("--fast", default="dpm++:20")
    parser.add_argument("--slow", default="ddpm:1000")
    parser.add_argument("--guidance", type=float, help="of both; else the run's own")
    parser.add_argument("--processes", type=int, default=1, help="that share the work (default 1)")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.guidance is None:
        options.guidance = open_model(open_run(options.run)).sampler.guidance
    prompts = evaluation_data(open_run(options.run), Registry.load(), None).prompts(options.n, 0)
    fast, fast_s = draw(options, options.fast, prompts)
    slow, slow_s = draw(options, options.slow, prompts)
    of_fast, of_slow = hits(fast, prompts), hits(slow, prompts)
    table = {name: difference(of_fast[name], of_slow[name]) for name in of_fast}
    for name, row in table.items():
        print(
            f"{name:<8} {options.fast} {row['fast']:.1f} %, {options.slow} {row['slow']:.1f} %, "
            f"difference {row['difference']:+.1f} [{row['low']:+.1f}, {row['high']:+.1f}]"
        )
    print(f"seconds {fast_s:.1f} and {slow_s:.1f}: {slow_s / fast_s:.1f}x less")
    if options.json:
        report = {
            "n": options.n,
            "fast": options.fast,
            "slow": options.slow,
            "guidance": options.guidance,
            "seconds": [fast_s, slow_s],
        }
        options.json.write_text(json.dumps({**report, "accuracy": table}, indent=2) + "\n")


if __name__ == "__main__":
    main()
