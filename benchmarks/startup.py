"""Seconds from the shell to the answer of the commands that only list, and to the first step of a training.

    python benchmarks/startup.py

Prints the median of `--repeats` calls of each, taking turns. A bare Python and the bare imports of the
command-line and settings libraries, and of PyTorch with an optimizer (which imports its compiler), show how
much of it is this library's own. What a training or a sampling imports is named by `python -X importtime`.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Annotated

import typer
from measuring import alternate

TRAINING = """
from t2ikit.recipes.compose import build_components
from t2ikit.recipes.read import read_recipe
from t2ikit.registry.registry import Registry
from t2ikit.training import session, train
from t2ikit.training.accelerator import make_accelerator
from t2ikit.training.start import make_trainer
registry = Registry.load()
recipe = read_recipe(registry, "{recipe}", settings=["data.count=40"])
accelerator = make_accelerator(recipe.train, "cpu", lazy_parameters=False)
make_trainer(recipe, build_components(recipe, registry, accelerator.device), accelerator)
"""
SAMPLING = "from t2ikit.sampling import open, sample; import {plugin}"
COMMANDS = {
    "python": ["-c", ""],
    "typer and pydantic": ["-c", "import typer; from pydantic import BaseModel, Field"],
    "t2ikit --help": ["-m", "t2ikit", "--help"],
    "t2ikit plugins": ["-m", "t2ikit", "plugins"],
    "t2ikit recipes": ["-m", "t2ikit", "recipes"],
    "t2ikit options train": ["-m", "t2ikit", "options", "train"],
    "torch": ["-c", "import torch"],
    "torch with an optimizer": ["-c", "import torch; torch.optim.AdamW([torch.zeros(1)])"],
    "training of gigagan": ["-c", TRAINING.format(recipe="gigagan/default")],
    "training of imagen": ["-c", TRAINING.format(recipe="imagen/default")],
    "sampling of gigagan": ["-c", SAMPLING.format(plugin="t2ikit_gigagan.generator, t2ikit_gigagan.sampler")],
    "sampling of imagen": ["-c", SAMPLING.format(plugin="t2ikit_imagen.denoiser, t2ikit_imagen.samplers")],
}


def main(repeats: Annotated[int, typer.Option(help="Calls of each command.")] = 7) -> None:
    """Time the commands that only list, and what others import."""

    def call(arguments: list[str]) -> None:
        subprocess.run([sys.executable, *arguments], capture_output=True, check=True)

    steps = {name: lambda a=arguments: call(a) for name, arguments in COMMANDS.items()}
    for name, seconds in alternate(steps, repeats, "cpu").items():
        print(f"{name:24s} {seconds:.2f} s")


if __name__ == "__main__":
    typer.run(main)
