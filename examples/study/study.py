"""The study: which of these works better, and what does each trick buy?

    python examples/study/study.py creatures --out runs/study      two seeds, an hour and a half on two cores
    python examples/study/study.py openmoji --out runs/study       one seed, an hour and a half

Trains every rung of the GAN's ladder and the diffusion model, `--jobs` at a time, measures each at its
checkpoints and at its end, and writes OUT/DATA-SIZE/: tables.md, numbers.json, images, and the report of
`t2ikit compare`. Stop it as you like: the same command goes on where it stopped.
"""

from __future__ import annotations

import shutil
import sys
import threading
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import typer
from commands import Commands, StudyError, interruptible
from filelock import FileLock, Timeout
from plans import PLANS, Plan, Rung, settings_of
from report import write_report

from t2ikit.runs import checkpoint as ckpt

T2IKIT = (sys.executable, "-m", "t2ikit")
HERE = Path(__file__).parent
ROOT = HERE.parents[1]


CLASSIFIER = threading.Lock()
"""Held while the classifier is used: the first use trains it."""


@dataclass(frozen=True)
class Study:
    """A plan in a folder.

    Attributes:
        plan: what is trained.
        out: folder of this plan alone.
        jobs: runs at a time.
        device: where to compute.
    """

    plan: Plan
    out: Path
    jobs: int
    device: str

    @cached_property
    def commands(self) -> Commands:
        """What runs its commands."""
        return Commands(self.out / "logs", self.jobs)

    def run(self, rung: Rung, seed: int) -> Path:
        """The run folder of a rung and a seed."""
        return self.out / f"{rung.name}-seed{seed}"

    def clip(self, name: str) -> Path:
        """The folder of a CLIP: "teacher" or "judge"."""
        return self.out / f"clip-{name}"

    def all(self) -> None:
        """Everything that is not there yet."""
        self.out.mkdir(parents=True, exist_ok=True)
        self.commands.together([(self.train_clip, "teacher", 0), (self.train_clip, "judge", 1)])
        runs = [(rung, seed) for seed in self.plan.seeds for rung in self.plan.rungs]
        self.commands.together([(self.train_and_measure, rung, seed) for rung, seed in runs])
        self.compare()
        write_report(self.plan, self.out)

    def train_clip(self, name: str, seed: int) -> None:
        """A small CLIP of this dataset."""
        folder, plan = self.clip(name), self.plan
        if (folder / "preprocessor_config.json").is_file():
            return
        self.commands.call(
            folder.name,
            sys.executable,
            HERE.parent / "train_clip.py",
            "--data",
            plan.data,
            "--out",
            folder,
            "--steps",
            plan.clip_steps,
            "--seed",
            seed,
            "--size",
            plan.size,
            "--patch",
            plan.size // 4,
            "--device",
            self.device,
        )

    def train_and_measure(self, rung: Rung, seed: int) -> None:
        """One run, from its first step to its numbers."""
        self.train(rung, seed)
        run, numbers = self.run(rung, seed), self.out / "numbers"
        numbers.mkdir(exist_ok=True)
        final = numbers / f"{run.name}.json"
        if not final.is_file():
            self.commands.call(run.name, *T2IKIT, "evaluate", run, "--json", final, *self.question)
        curve = numbers / f"{run.name}-curve.json"
        if self.plan.readable and not curve.is_file():
            self.commands.call(
                run.name,
                sys.executable,
                HERE / "curve.py",
                run,
                "--out",
                curve,
                "-n",
                self.plan.n // 2,
                "--clip",
                self.clip("judge"),
                "--device",
                self.device,
            )
        if not self.plan.readable:
            self.recall(run, numbers)
        sweep = numbers / f"{run.name}-sweep.json"
        if rung.diffusion and not sweep.is_file():
            self.sweep(run, sweep)

    @property
    def question(self) -> list[Any]:
        """What evaluation and comparison share."""
        judge = self.clip("judge")
        return [
            "-n",
            self.plan.n,
            "--device",
            self.device,
            "--set",
            f"metrics.clip-score.model={judge}",
            "--set",
            f"metrics.clip-distance.model={judge}",
        ]

    def recall(self, run: Path, numbers: Path) -> None:
        """How often a classifier recognises what was asked for, at each checkpoint; 32 px alone."""
        for point in range(1, self.plan.points + 1):
            step = self.plan.steps * point // self.plan.points
            out = numbers / f"{run.name}-recall-{step}.json"
            if self.plan.size == 32 and not out.is_file():
                with CLASSIFIER:
                    self.commands.call(
                        run.name,
                        sys.executable,
                        ROOT / "benchmarks" / "openmoji_accuracy.py",
                        run,
                        "--checkpoint",
                        step,
                        "--json",
                        out,
                        "--grid",
                        out.with_suffix(".png"),
                        "--classifier",
                        self.out / "classifier.safetensors",
                    )

    def sweep(self, run: Path, out: Path) -> None:
        """Guidance and thresholding."""
        metrics = "colours," + ("prompt-accuracy" if self.plan.readable else "clip-score")
        judge = [] if self.plan.readable else ["--set", f"metrics.clip-score.model={self.clip('judge')}"]
        axes = ["--sweep", "guidance=0.1,1,2,3,5", "--sweep", "thresholding=none,static,dynamic"]
        self.commands.call(
            run.name,
            *T2IKIT,
            "evaluate",
            run,
            "--metrics",
            metrics,
            "-n",
            self.plan.n // 4,
            *axes,
            *judge,
            "--device",
            self.device,
            "--json",
            out,
        )

    def compare(self) -> None:
        """The report of the first seed's runs."""
        report = self.out / "report.html"
        if not report.is_file():
            runs = [self.run(rung, self.plan.seeds[0]) for rung in self.plan.rungs]
            self.commands.call("compare", *T2IKIT, "compare", *runs, "--out", report, *self.question)

    def train(self, rung: Rung, seed: int) -> None:
        """Train a run, or what is left of it; one that was killed before its first checkpoint starts anew."""
        run = self.run(rung, seed)
        if ckpt.checkpoints(run):
            if not (run / "checkpoints" / f"step-{self.plan.steps:08d}").is_dir():
                self.commands.call(run.name, *T2IKIT, "train", "--resume", run)
            return
        if run.exists():
            discard(run)
        settings = settings_of(self.plan, rung, str(self.clip("teacher").resolve()))
        words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        self.commands.call(
            run.name,
            *T2IKIT,
            "train",
            "--plugin",
            rung.recipe.split("/")[0],
            "--recipe",
            rung.recipe,
            "--data",
            self.plan.data,
            "--out",
            run,
            "--seed",
            seed,
            "--device",
            self.device,
            *words,
        )


def discard(run: Path) -> None:
    """Remove a run folder that nobody is training.

    Raises:
        StudyError: somebody is.
    """
    try:
        FileLock(run / ".training.lock").acquire(timeout=0).lock.release()
    except Timeout:
        raise StudyError(f"{run} is being trained by another process: wait for it, or stop it") from None
    shutil.rmtree(run)


def main(
    data: Annotated[str, typer.Argument(help="creatures or openmoji.")],
    out: Annotated[Path, typer.Option(help="Folder of the study; a folder a plan is made in it.")],
    size: Annotated[int, typer.Option(help="32, or 64 for a GPU.")] = 32,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time.")] = 2,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Train, measure and compare."""
    if (data, size) not in PLANS:
        known = ", ".join(f"{name} --size {pixels}" for name, pixels in PLANS)
        raise typer.BadParameter(f"no plan of {data} at {size} px; there are: {known}")
    study = Study(PLANS[data, size], out / f"{data}-{size}", jobs, device)
    try:
        interruptible(study.all)
    except StudyError as error:
        typer.echo(f"error: {error}\nthe same command goes on where it stopped", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        typer.echo("stopped; the same command goes on where it stopped", err=True)
        raise typer.Exit(1) from None
    typer.echo((study.out / "tables.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    typer.run(main)
