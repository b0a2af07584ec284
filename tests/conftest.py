"""What several test files use."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from cli_process import run_command
from t2ikit.cli import main
from t2ikit.data.loader import BatchLoader
from t2ikit.recipes.compose import Components, build_components
from t2ikit.recipes.read import read_recipe
from t2ikit.recipes.recipe import Recipe
from t2ikit.registry.registry import Registry
from t2ikit.training.accelerator import make_accelerator
from t2ikit.training.start import make_trainer
from t2ikit.training.trainer import Trainer
from t2ikit.utils.console import Verbosity, set_verbosity

TESTS = Path(__file__).parent
TOYS = TESTS / "toys" / "toys.py"
KILLER = TESTS / "toys" / "killer.py"

# Beside other workers of pytest-xdist, a second thread only gets in the way; so it does in commands of tests.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else 2)


@dataclass
class Toy:
    """A toy run, built but not trained."""

    recipe: Recipe
    components: Components
    trainer: Trainer

    def batch(self, step: int = 0):
        shares = BatchLoader(self.components.dataset, self.recipe.train.seed, self.recipe.train.batch)
        return shares[step].batch(self.components.model.encoder, self.trainer.accelerator.device)

    def steps(self, start: int, stop: int) -> None:
        for step in range(start, stop):
            self.trainer.step(self.batch(step), step)

    def player(self, name: str):
        return next(player for player in self.trainer.players if player.name == name)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """A cache of the tests' own, not the user's."""
    os.environ["T2IKIT_CACHE"] = str(tmp_path_factory.mktemp("cache"))


def make_toy(kind: str, *settings: str, log=print, device: str = "cpu") -> Toy:
    return build_toy(f"toys/{kind}", *settings, plugin=str(TOYS), log=log, device=device)


def build_toy(name: str, *settings: str, plugin: str, log=print, device: str = "cpu") -> Toy:
    """The same of any recipe."""
    registry = Registry.load([plugin])
    recipe = read_recipe(registry, name, settings=settings)
    accelerator = make_accelerator(recipe.train, device, lazy_parameters=False)
    components = build_components(recipe, registry, accelerator.device)
    trainer = make_trainer(recipe, components, accelerator)
    trainer.log = log
    return Toy(recipe, components, trainer)


@pytest.fixture(scope="session", autouse=True)
def one_precision():
    """`auto` is fp32 on every CPU, also on one that is faster at bf16: tests compare bits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("t2ikit.core.precision.measure_gain", lambda: 1.0)
        yield


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request) -> str:
    """Where a test computes: on the CPU, and on a GPU where there is one."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    return request.param


@pytest.fixture
def cuda() -> str:
    """The same for what only a GPU has; such a test is marked `gpu`."""
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    return "cuda"


@pytest.fixture(scope="module")
def browser():
    """Chromium; of a module, since a test beside it may need an event loop of its own."""
    from browser_support import open_browser

    with open_browser() as found:
        yield found


@pytest.fixture(autouse=True)
def normal_verbosity():
    """A command of another test may have been told to be quiet."""
    set_verbosity(Verbosity.normal)


def heed_interrupts() -> None:
    """In a new process: let SIGINT interrupt it, which a shell's background job is told to ignore."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def cli(tmp_path):
    """Run the command line in its own process, in a temporary folder; `cold`: nothing is imported before."""

    def run_here(*words: object, env=None, launcher: tuple[str, ...] = (), timeout=300, cold=False):
        settings = {**os.environ, "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline", **(env or {})}
        if not launcher:
            return run_command(words, cwd=tmp_path, env=settings, timeout=timeout, cold=cold)
        command = [sys.executable, *launcher, "-m", "t2ikit", *map(str, words)]
        options = {"capture_output": True, "text": True, "timeout": timeout}
        return subprocess.run(command, cwd=tmp_path, env=settings, **options)

    return run_here


@pytest.fixture
def cli_here(tmp_path, monkeypatch, capsys):
    """The same in this process, which takes no seconds to start: for commands that are refused."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> SimpleNamespace:
        capsys.readouterr()
        status = main([*map(str, words)])
        out, error = capsys.readouterr()
        return SimpleNamespace(returncode=status, stdout=out, stderr=error)

    return run
