"""Changes of a recipe on `creatures`, one at a time, over several seeds: mean and worst accuracy, time.

    python benchmarks/variants.py --plugin imagen --out runs/variants --seeds 0 1 2 3 4
        --variant as-it-is --variant "lr: optimizer.generator.lr=4e-3" [--table FILE.md]

A variant is a name, a colon and settings with spaces between them. Trains the runs that are not there yet,
one by one (stop it and start it again as you like), and measures each on prompts that training never showed.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from accuracy import measured, minutes_of, publish
from trainings import trained

import t2ikit
from t2ikit.metrics.prompt_accuracy import NAMES

HEADER = (
    "| variant | seeds | colour | species | action | eyes | joint, mean | joint, worst | joint of each seed "
    "| kd-reader | diversity per prompt | minutes |\n|" + "---|" * 12
)


def folder_of(out: Path, plugin: str, recipe: str | None, settings: list[str], seed: int) -> Path:
    """The folder of a run, which is trained to its end where it is not."""
    trained(
        out,
        lambda: t2ikit.train(plugin, recipe=recipe, set=settings, seed=seed, out=out, device="cpu"),
    )
    return out


def row(name: str, runs: list[Path], n: int) -> str:
    """A line of the Markdown table."""
    tables = [measured(run, n)["measures"] for run in runs]
    joint = [table["prompt-accuracy/joint"] for table in tables]
    means = [statistics.mean(table[f"prompt-accuracy/{one}"] for table in tables) for one in NAMES]
    distance = statistics.mean(table["reader-distance/kd-reader"] for table in tables)
    diversity = statistics.mean(table["reader-diversity/per-prompt"] for table in tables)
    minutes = statistics.mean(map(minutes_of, runs))
    cells = [name, str(len(runs)), *(f"{mean:.1f}" for mean in means), f"{statistics.mean(joint):.1f}"]
    cells += [
        f"{min(joint):.1f}",
        " ".join(f"{one:.1f}" for one in joint),
        f"{distance:.4g}",
        f"{diversity:.3f}",
        f"{minutes:.1f}",
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Train, measure, print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--plugin", default="imagen")
    parser.add_argument("--recipe")
    parser.add_argument("--out", type=Path, default=Path("runs/variants"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--variant", action="append", required=True)
    parser.add_argument("--table", type=Path)
    parser.add_argument("-n", type=int, default=1024)
    options = parser.parse_args()
    lines = [HEADER]
    for text in options.variant:
        name, _, settings = text.partition(":")
        runs = []
        for seed in options.seeds:
            out = options.out / f"{name.strip()}-{seed}"
            runs.append(folder_of(out, options.plugin, options.recipe, settings.split(), seed))
            measured(out, options.n)
        lines.append(row(name.strip(), runs, options.n))
        print(lines[-1], flush=True)
    publish(lines, options.table)


if __name__ == "__main__":
    main()
