"""Make the models that the package carries: `creatures` and its one-call student, in half precision.

    python benchmarks/packaged.py --out runs/packaged [--seed 0] [--into src/t2ikit/packaged] [-n 1024]

Trains `imagen/creatures` (under an hour on one core), distils it, measures both on prompts that training
never showed, and exports them; the cards hold the recipe, the seed and the figures. What is there already
is not done again: stop it and start it again as you like.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from trainings import trained

import t2ikit

RECIPE = "imagen/creatures"
MODELS = ("creatures", "creatures-one-step")
METRICS = ("prompt-accuracy", "reader-distance", "reader-diversity")
MIB = 2**20


def both(out: Path, seed: int) -> list[Path]:
    """The folders of teacher and student, which are trained where they are not."""
    teacher, student = (out / name for name in MODELS)
    trained(teacher, lambda: t2ikit.train("imagen", recipe=RECIPE, seed=seed, out=teacher, device="cpu"))
    trained(student, lambda: t2ikit.distil(teacher, seed=seed, out=student, device="cpu"))
    return [teacher, student]


def package(run: Path, folder: Path, n: int) -> None:
    """Measure a run and write its export anew."""
    result = t2ikit.evaluate(run, metrics=METRICS, n=n, device="cpu")
    print(f"{folder.name}: {result.measures}")
    shutil.rmtree(folder, ignore_errors=True)
    t2ikit.export(run, "diffusers", out=folder, dtype="float16")
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"{folder}: {size / MIB:.1f} MiB")


def main() -> None:
    """Train, distil, measure, export."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/packaged"))
    parser.add_argument("--into", type=Path, default=Path("src/t2ikit/packaged"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-n", type=int, default=1024)
    options = parser.parse_args()
    for name, run in zip(MODELS, both(options.out, options.seed), strict=True):
        package(run, options.into / name, options.n)


if __name__ == "__main__":
    main()
