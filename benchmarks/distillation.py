"""Students of denoisers beside their teachers: accuracy, distance, diversity, cost; one change at a time.

    python benchmarks/distillation.py runs/imagen-001 [RUN ...] --out runs/students [-n 1024]
        [--variants plain,critic,...] [--table docs/distil-table.md]

Trains the students that are not there yet, one by one (stop it and start it again as you like). Teacher
and student sample the same prompts that training never showed; differences are of the same prompts.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from accuracy import difference, measured, minutes_of, publish
from trainings import trained

import t2ikit
from t2ikit.metrics.prompt_accuracy import NAMES

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "critic": {"recipe": "gigagan/distil"},
    "reading-critic": {
        "recipe": "gigagan/distil",
        "critics.real.word_width": 64,
        "critics.real.embedding_width": 128,
        "data.hard_negatives": 0.5,
        "losses.contrastive.use": "gigagan/contrastive-critic",
        "losses.contrastive.wrong": True,
        "losses.words.use": "gigagan/contrastive",
        "losses.words.weight": 0.2,
        "losses.words.wrong": True,
    },
    "guidance-1": {"losses.matching.guidance": 1.0},
    "guidance-4": {"losses.matching.guidance": 4.0},
    "low-noise": {"losses.matching.high": 0.6},
    "high-noise": {"losses.matching.low": 0.3},
    "two-scores-a-student": {"losses.matching.every": 2},
    "two-students-a-score": {"losses.score.every": 2},
    "short-average": {"train.ema_decay": 0.9},
    "long-average": {"train.ema_decay": 0.995},
    "two-calls": {"generator.calls": 2},
    "four-calls": {"generator.calls": 4},
}
"""Settings of each, one change beside `plain`."""


def student_of(teacher: Path, variant: str, options: argparse.Namespace) -> Path:
    """The folder of a student, which is trained to its end where it is not."""
    out = Path(options.out) / f"{teacher.resolve().name}-{variant}"
    settings = dict(VARIANTS[variant])
    recipe = settings.pop("recipe", None)
    common = {"steps": options.steps, "seed": options.seed, "device": "cpu"}
    trained(out, lambda: t2ikit.distil(str(teacher), out=out, recipe=recipe, set=settings, **common))
    return out


def row(name: str, run: Path, table: dict[str, Any], teacher: dict[str, Any]) -> str:
    """A line of the Markdown table."""
    values = table["measures"]
    points = [f"{values[f'prompt-accuracy/{one}']:.1f}" for one in (*NAMES, "joint")]
    apart = (
        ""
        if table is teacher
        else "{:+.1f} [{:+.1f}, {:+.1f}]".format(*difference(table["right"], teacher["right"]))
    )
    others = [f"{values[one]:.4g}" for one in ("reader-distance/kd-reader", "reader-diversity/per-prompt")]
    costs = [f"{minutes_of(run):.1f}", f"{table['calls']:g}", f"{table['milliseconds']:.1f}"]
    return "| " + " | ".join([name, *points, apart, *others, *costs]) + " |"


HEADER = (
    "| run | colour | species | action | eyes | joint | joint beside the teacher | kd-reader | diversity "
    "| minutes | calls | ms an image |\n|" + "---|" * 12
)


def main() -> None:
    """Train, measure, print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/students"))
    parser.add_argument("--variants", default="plain")
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--table", type=Path)
    parser.add_argument("-n", type=int, default=1024)
    options = parser.parse_args()
    lines = [HEADER]
    for teacher in options.runs:
        theirs = measured(teacher, options.n, kept=None if teacher.is_dir() else options.out / teacher.name)
        lines.append(row(f"{teacher.name}, the teacher", teacher, theirs, theirs))
        for variant in options.variants.split(","):
            student = student_of(teacher, variant, options)
            lines.append(row(variant, student, measured(student, options.n), theirs))
            print(lines[-1], flush=True)
    publish(lines, options.table)


if __name__ == "__main__":
    main()
