"""Whether today's commands give the same bits as those of another checkout.

    python benchmarks/same_as_before.py --before CHECKOUT [--recipes imagen/default ...] [--steps 20]

Trains each recipe with the other checkout and with this one, resumes both, samples and exports them, and
resumes the other checkout's run here; then compares weights, sampled images and exports' weights.
One command after the other, on the CPU. Exit status 1 where anything differs.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
COMPARED = ("*.safetensors", "*.png")
UNLIKE = ("losses.png", "grid.png")
"""Images that show words or times beside what was sampled."""


def t2ikit(checkout: Path, folder: Path, *words: object) -> None:
    """Run a command with a checkout's code, in `folder`."""
    path = os.pathsep.join(str(checkout / name) for name in ("src", "plugins"))
    environment = {**os.environ, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run(
        [sys.executable, "-m", "t2ikit", *map(str, words)],
        cwd=folder,
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )


def results(folder: Path) -> dict[str, bytes]:
    """The files of a folder that must be the same."""
    found = (path for pattern in COMPARED for path in folder.rglob(pattern) if path.name not in UNLIKE)
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def train(checkout: Path, folder: Path, recipe: str, steps: int) -> None:
    """Train to the end, go on for a few more steps, and sample and export what comes of it."""
    plugin = recipe.partition("/")[0]
    words = ["--plugin", plugin, "--recipe", recipe, "--device", "cpu", "--out", "run"]
    t2ikit(checkout, folder, "train", *words, "--set", f"train.steps={steps}")
    shutil.copytree(folder / "run", folder / "stopped")
    use(checkout, folder, steps)


def use(checkout: Path, folder: Path, steps: int) -> None:
    """Resume, sample and export the run of a folder."""
    t2ikit(
        checkout, folder, "train", "--resume", "run", "--device", "cpu", "--set", f"train.steps={steps + 4}"
    )
    t2ikit(checkout, folder, "sample", "run", "a red cat", "-n", 2, "--device", "cpu", "--out", "sampled")
    t2ikit(checkout, folder, "export", "run", "--format", "diffusers", "--out", "exported")


def compared(title: str, before: Path, after: Path) -> bool:
    """Print what differs between two folders; true where nothing does."""
    old, new = results(before), results(after)
    unlike = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    print(f"{title}: {len(old)} files, {len(unlike)} differ {unlike[:5] if unlike else ''}", flush=True)
    return bool(old) and not unlike


def same(before: Path, folder: Path, recipe: str, steps: int) -> bool:
    """Whether a recipe gives the same with both checkouts, and the old run goes on here as it did there."""
    runs = {name: folder / name for name in ("before", "after", "continued")}
    for name, checkout in (("before", before), ("after", HERE)):
        runs[name].mkdir(parents=True)
        train(checkout, runs[name], recipe, steps)
    runs["continued"].mkdir()
    for name in ("run", "stopped"):
        shutil.copytree(runs["before"] / "stopped", runs["continued"] / name)
    use(HERE, runs["continued"], steps)
    return all(
        [
            compared(f"{recipe}, trained, resumed, sampled, exported", runs["before"], runs["after"]),
            compared(f"{recipe}, the run of before used here", runs["before"], runs["continued"]),
        ]
    )


def main() -> None:
    """Compare the recipes asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, help="the other checkout")
    parser.add_argument("--recipes", nargs="+", default=["imagen/default", "gigagan/default"])
    parser.add_argument("--steps", type=int, default=20)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = [
            same(given.before.resolve(), Path(folder) / str(number), recipe, given.steps)
            for number, recipe in enumerate(given.recipes)
        ]
    sys.exit(0 if all(found) else 1)


if __name__ == "__main__":
    main()
