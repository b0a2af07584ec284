"""The rows of the table: models of other packages, and t2ikit's own, each trained for some minutes."""

from __future__ import annotations

import importlib.util
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import closing, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import t2ikit
from equal.gigagan_pytorch import GigaganPytorch
from equal.imagen_pytorch import ImagenPytorch
from equal.min_imagen import MinImagen
from equal.plain_diffusers import PlainDiffusers
from equal.rival import Rival
from equal.task import Task
from t2ikit.cli import main as command
from t2ikit.runs.log import read_log
from t2ikit.runs.open import open_run
from t2ikit.sampling.images import sample_images
from t2ikit.sampling.open import open_model

Sample = Callable[[Sequence[str], float, int], Tensor]
"""Captions, guidance and steps to images (N, 3, H, W)."""
TOY: dict[str, Any] = {
    "data.count": 64,
    "train.batch": 4,
    "train.samples": 1,
    "train.validation_images": 2,
    "train.sample_every": 100,
    "train.validate_every": 100,
}
TOY_SAMPLER = {"imagen": {"sampler.steps": 2}, "gigagan": {}}


class Contestant(ABC):
    """A row.

    Attributes:
        name: of the row.
        rates: learning rates to choose from.
        guidances: guidance weights to choose from.
        steps: the documented sampling steps; 0: it has its own, which are not changed.
        ours: whether it is t2ikit's.
        documented: where its settings come from.
    """

    name: str
    rates: tuple[float, ...] = (0.0,)
    guidances: tuple[float, ...] = (0.0,)
    steps: int = 0
    ours: bool = True
    documented: str = ""

    def missing(self) -> str:
        """Why it cannot take part; empty where it can."""
        return ""

    @abstractmethod
    def train(self, task: Task, folder: Path, rate: float, minutes: float, toy: int) -> dict[str, Any]:
        """Train into an empty folder; what is to be known of it.

        Args:
            task: on what.
            folder: of the weights.
            rate: one of `rates`.
            minutes: counted from the first step, everything between steps included.
            toy: so many steps of a tiny model instead; 0: no toy.
        """

    @abstractmethod
    def sampler(self, task: Task, folder: Path, rate: float, toy: int) -> Sample:
        """What was trained into a folder."""


class Package(Contestant):
    """A model of another package."""

    ours = False

    def __init__(self, rival: type[Rival]) -> None:
        self.rival = rival
        self.name, self.rates, self.steps = rival.name, rival.rates, rival.steps
        self.guidances = rival.guidances or (1.0,)
        self.documented = rival.documented

    def missing(self) -> str:
        """The packages that are not installed."""
        absent = [name for name in self.rival.packages if importlib.util.find_spec(name) is None]
        return f"not installed: {', '.join(absent)}" if absent else ""

    def train(self, task: Task, folder: Path, rate: float, minutes: float, toy: int) -> dict[str, Any]:
        """Steps until the time is up."""
        rival = self.rival(task, rate, toy=bool(toy))
        with closing(task.batches()) as batches:
            began, count, done = time.monotonic(), 0, 0.0
            while done < 1:
                rival.step(next(batches), done)
                count += 1
                seconds = time.monotonic() - began
                done = count / toy if toy else seconds / (60 * minutes)
        rival.finish()
        weights = {name: tensor.detach().clone() for name, tensor in rival.sampled.state_dict().items()}
        save_file(weights, folder / "weights.safetensors")
        return {"steps": count, "seconds": seconds, "parameters": rival.parameters}

    def sampler(self, task: Task, folder: Path, rate: float, toy: int) -> Sample:
        """The package's own sampler."""
        rival = self.rival(task, rate, toy=bool(toy))
        rival.finish()
        rival.sampled.load_state_dict(load_file(folder / "weights.safetensors"))
        rival.sampled.eval()

        def sample(captions: Sequence[str], guidance: float, steps: int) -> Tensor:
            with torch.no_grad(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
                return rival.sample(captions, task.encode(captions), guidance, steps)

        return sample


class Own(Contestant):
    """The default recipe of one of t2ikit's plugins."""

    def __init__(self, plugin: str) -> None:
        self.plugin, self.name = plugin, f"t2ikit {plugin}/default"

    def train(self, task: Task, folder: Path, rate: float, minutes: float, toy: int) -> dict[str, Any]:
        """`t2ikit train --plugin PLUGIN --minutes MINUTES`."""
        settings = {**TOY, **TOY_SAMPLER[self.plugin], "train.steps": toy} if toy else {}
        run = t2ikit.train(
            self.plugin,
            out=folder / "run",
            seed=task.seed,
            minutes=None if toy else minutes,
            set=settings,
            device="cpu",
            progress=not toy,
        )
        return known(run)

    def sampler(self, task: Task, folder: Path, rate: float, toy: int) -> Sample:
        """The recipe's own sampler, at its own guidance and steps."""
        model = open_model(open_run(folder / "run"), device="cpu")

        def sample(captions: Sequence[str], guidance: float, steps: int) -> Tensor:
            return sample_images(model, captions, seed=task.seed)

        return sample


class Student(Own):
    """The default denoiser for half of the minutes, and its one-step student for the rest."""

    def __init__(self) -> None:
        super().__init__("imagen")
        self.name = "t2ikit distil"
        self.documented = "half of the minutes train the teacher, half the student"

    def missing(self) -> str:
        """The command."""
        return "" if importlib.util.find_spec("t2ikit.cli.distil") else "there is no command `t2ikit distil`"

    def train(self, task: Task, folder: Path, rate: float, minutes: float, toy: int) -> dict[str, Any]:
        """`t2ikit train`, then `t2ikit distil`."""
        (folder / "teacher").mkdir()
        teacher = super().train(task, folder / "teacher", rate, minutes / 2, toy)
        budget = ["--steps", toy, "--set", "train.batch=4"] if toy else ["--minutes", minutes / 2]
        run = folder / "run"
        words = ["distil", folder / "teacher" / "run", "--out", run, "--device", "cpu", *budget, "-q"]
        with redirect_stdout(StringIO()):
            status = command([str(word) for word in [*words, "--seed", task.seed]])
        if status:
            raise RuntimeError(f"t2ikit distil ended with {status}")
        own = known(open_run(run))
        return {**own, "seconds": own["seconds"] + teacher["seconds"], "teacher": teacher}


def known(run: t2ikit.Run) -> dict[str, Any]:
    """Steps, seconds and parameters of a run."""
    minutes = max((line.get("minutes", 0.0) for line in read_log(run.path / "log.jsonl")), default=0.0)
    generator = open_model(run, device="cpu").generator
    parameters = sum(parameter.numel() for parameter in generator.parameters())
    return {"steps": run.step(), "seconds": 60 * minutes, "parameters": parameters}


CONTESTANTS: dict[str, Contestant] = {
    "minimagen": Package(MinImagen),
    "imagen-pytorch": Package(ImagenPytorch),
    "gigagan-pytorch": Package(GigaganPytorch),
    "diffusers": Package(PlainDiffusers),
    "imagen": Own("imagen"),
    "gigagan": Own("gigagan"),
    "distil": Student(),
}
