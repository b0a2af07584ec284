"""t2ikit beside other packages: the same data, size, minutes and machine.

    python -m venv --system-site-packages peers
    peers/bin/pip install --no-deps minimagen imagen-pytorch gigagan-pytorch einops einops-exts resize-right \
        beartype ema-pytorch kornia kornia_rs numerize ftfy wcwidth
    peers/bin/python benchmarks/equal_minutes.py --out runs/equal [--minutes 10,60] [--only minimagen,imagen]
    python benchmarks/equal_minutes.py --table                 (the results as a table into docs/numbers.md)

Trains MinImagen, imagen-pytorch, gigagan-pytorch and a plain diffusers script on creatures at 32 px, each at
its documented settings and three learning rates, narrowed to about the size of t2ikit's default (2.6 million
parameters), and t2ikit's default denoiser, GAN and one-step student, these also for a quarter of the minutes.
The minutes count from the first step. Learning rate and guidance weight of the others are chosen on captions
of their own; then all are measured on the same captions that were never drawn.

Stop it and start it again as you like: what is there is not made again. A day on two cores; `--minutes 10`
takes six hours. All of it runs on the CPU, one after the other; leave the machine alone meanwhile. The steps
of DDPM that others document (1,000) would take hours to measure, so accuracy is measured with `--most-steps`
of them (the same sampler, evenly spaced); the seconds an image takes are scaled to the documented steps.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from equal.contestants import CONTESTANTS, Contestant
from equal.measure import drawn, joint, measured
from equal.table import markdown, with_table
from equal.task import SELECTION_SEED, Task
from measuring import processor

from t2ikit.utils.files import write_json

ROOT = Path(__file__).resolve().parents[1]
RESULTS, PAGE = ROOT / "benchmarks" / "results" / "equal-minutes.json", ROOT / "docs" / "numbers.md"
TOY_STEPS, TOY_COUNT, TOY_N = 2, 64, 8


@dataclass(frozen=True)
class Options:
    """What was asked for.

    Attributes:
        out: folder of all trainings.
        minutes: of every model.
        n: captions that are measured.
        chosen_on: captions that learning rate and guidance are chosen on.
        choosing_steps: sampling steps meanwhile.
        most_steps: sampling steps of what is measured, at most.
        seed: of everything.
        toy: steps of each training in place of minutes; 0: no toy.
    """

    out: Path
    minutes: tuple[float, ...] = (10.0, 60.0)
    n: int = 1024
    chosen_on: int = 128
    choosing_steps: int = 25
    most_steps: int = 100
    seed: int = 0
    toy: int = 0


class Benchmark:
    """All trainings in a folder.

    Args:
        options: what was asked for.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.task = Task(options.seed, TOY_COUNT if options.toy else None)
        self.left_out: dict[str, str] = {}

    def run(self, names: Sequence[str]) -> dict[str, Any]:
        """Train and measure the rows asked for; the report of everything that is in the folder."""
        self.task.draw()
        rows = []
        for minutes in self.options.minutes:
            for name in names:
                contestant = CONTESTANTS[name]
                why = contestant.missing()
                if why:
                    print(f"{contestant.name} is left out: {why}")
                    self.left_out[contestant.name] = why
                    continue
                quarters = [minutes / 4] if contestant.ours and not self.options.toy else []
                rows += [self.row(name, contestant, one) for one in (*quarters, minutes)]
        return self.report(rows)

    def row(self, name: str, contestant: Contestant, minutes: float) -> dict[str, Any]:
        """One row: trained, chosen and measured, as far as that is not done."""
        place = self.options.out / name / f"{minutes:g}-minutes"
        rates = contestant.rates[:2] if self.options.toy else contestant.rates
        tried = [self.trained(contestant, place / f"rate-{rate:g}", rate, minutes) for rate in rates]
        choices = [(one, guidance) for one in tried for guidance in contestant.guidances]
        best, guidance = choices[0]
        if len(choices) > 1:
            best, guidance = max(choices, key=lambda choice: self.chosen(contestant, *choice))
        file = place / "measured.json"
        options = self.options
        asked = {"rate": best["rate"], "guidance": guidance, "n": options.n, "most_steps": options.most_steps}
        found = read(file)
        if found is None or any(found[key] != value for key, value in asked.items()):
            steps = min(contestant.steps, self.options.most_steps) or 1
            sample = contestant.sampler(
                self.task, place / f"rate-{best['rate']:g}", best["rate"], self.options.toy
            )
            figures = measured(self.task, sample, self.options.n, guidance, steps, contestant.steps)
            found = {**best, **asked, **figures}
            write_json(file, found)
        told = {"name": contestant.name, "ours": contestant.ours, "documented": contestant.documented}
        print(f"{contestant.name}, {minutes:g} minutes: {found['joint']['value']:.1f} % follow the caption")
        return {**found, **told, "minutes": minutes}

    def trained(self, contestant: Contestant, folder: Path, rate: float, minutes: float) -> dict[str, Any]:
        """What is known of a training, made if it is not there."""
        file = folder / "trained.json"
        found = read(file)
        if found is None:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            told = f", learning rate {rate:g}" if rate else ""
            print(f"training {contestant.name} for {minutes:g} minutes{told}", flush=True)
            facts = contestant.train(self.task, folder, rate, minutes, self.options.toy)
            found = {"rate": rate, "minutes": minutes, "seed": self.options.seed, **facts, **where()}
            write_json(file, found)
        return {**found, "folder": str(folder)}

    def chosen(self, contestant: Contestant, tried: dict[str, Any], guidance: float) -> float:
        """Joint accuracy on the captions that are there to choose on."""
        file = Path(tried["folder"]) / f"guidance-{guidance:g}.json"
        found = read(file)
        if found is None:
            options = self.options
            prompts = self.task.prompts(options.chosen_on, SELECTION_SEED)
            sample = contestant.sampler(self.task, Path(tried["folder"]), tried["rate"], options.toy)
            steps = min(contestant.steps, options.choosing_steps)
            images = drawn(sample, prompts, guidance, steps, options.seed)
            found = {"joint": joint(self.task, images, prompts), "n": len(prompts), "steps": steps}
            write_json(file, found)
        return float(found["joint"])

    def report(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Everything that the table shows."""
        options = self.options
        return {
            **where(),
            "torch": torch.__version__,
            "n": options.n,
            "chosen_on": options.chosen_on,
            "most_steps": options.most_steps,
            "seed": options.seed,
            "left_out": self.left_out,
            "rows": [{key: value for key, value in row.items() if key != "folder"} for row in rows],
        }


def where() -> dict[str, str]:
    """Machine and commit."""
    words = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()
    return {"machine": processor("cpu"), "commit": commit}


def read(file: Path) -> dict[str, Any] | None:
    """What a file holds; None where there is none."""
    if not file.is_file():
        return None
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def write_table() -> None:
    """The table of the results into docs/numbers.md."""
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(with_table(page, markdown(read(RESULTS))), encoding="utf-8")


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/equal"), help="folder of the trainings")
    parser.add_argument("--minutes", default="10,60", help="of every model (default 10,60)")
    parser.add_argument("--only", default=",".join(CONTESTANTS), help=f"of {', '.join(CONTESTANTS)}")
    parser.add_argument("-n", type=int, default=1024, help="captions that are measured (default 1024)")
    parser.add_argument(
        "--most-steps", type=int, default=100, help="of samplers, when measured (default 100)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--toy", action="store_true", help="two steps of tiny models, to see that all works")
    parser.add_argument("--json", type=Path, help="write the results here too")
    parser.add_argument("--table", action="store_true", help="only write the table into docs/numbers.md")
    given = parser.parse_args(words)
    given.only = given.only.split(",")
    unknown = sorted(set(given.only) - set(CONTESTANTS))
    if unknown:
        parser.error(f"--only: {', '.join(unknown)}; there are: {', '.join(CONTESTANTS)}")
    return given


def options_of(given: argparse.Namespace) -> Options:
    """The options of a command line."""
    if given.toy:
        return Options(given.out, (1.0,), TOY_N, 4, 2, 2, given.seed, TOY_STEPS)
    minutes = tuple(float(one) for one in given.minutes.split(","))
    return Options(given.out, minutes, given.n, most_steps=given.most_steps, seed=given.seed)


def main() -> None:
    """Train, measure and tell."""
    given = parse()
    if given.table:
        write_table()
        return
    report = Benchmark(options_of(given)).run(given.only)
    for file in (given.out / "equal-minutes.json", given.json):
        if file is not None:
            write_json(file, report)
    print(markdown(report))


if __name__ == "__main__":
    sys.exit(main())
