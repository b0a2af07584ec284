"""The examples in docstrings run, and print what they say; those of runs on a small one and few images."""

from __future__ import annotations

import doctest
import importlib
import shutil
from pathlib import Path

import pytest
import torch

import t2ikit
from t2ikit.testing import toy_run
from t2ikit.testing.toys import ToyDenoiser, toy_condition

SOURCE = Path(__file__).parents[2] / "src"
MODULES = sorted(
    ".".join(path.relative_to(SOURCE).with_suffix("").parts)
    for path in SOURCE.rglob("*.py")
    if "    >>> " in path.read_text(encoding="utf-8") and "scaffold" not in path.parts
)
LOSS = """\
from t2ikit import LossSpec, hookimpl

def mse(step):
    output, target, _ = step.prediction.denoising()
    return (output - target).square().mean()

@hookimpl
def t2ikit_losses():
    return [LossSpec("mse", lambda config, context: mse, needs=frozenset({"target"}))]
"""


class Checker(doctest.OutputChecker):
    """An example that says nothing of what it prints may print anything."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return not want or super().check_output(want, got, optionflags)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What examples find where they run: two runs and a plugin."""
    folder = tmp_path_factory.mktemp("examples")
    made = toy_run(folder)
    for name in ("imagen-001", "gigagan-001"):
        shutil.copytree(made.path, folder / "runs" / name)
    (folder / "my_loss.py").write_text(LOSS)
    return folder


def test_examples_are_found():
    assert {"t2ikit.nn.noise", "t2ikit.core.rng", "t2ikit.core.batch", "t2ikit.sampling.sample"} <= {*MODULES}


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_run(name, folder, tmp_path, monkeypatch):
    module = importlib.import_module(name)
    monkeypatch.chdir(shutil.copytree(folder, tmp_path / "here"))
    given = {
        "t2ikit": t2ikit,
        "torch": torch,
        "model": ToyDenoiser(text_width=16, image_size=32),
        "condition": toy_condition(["a red cat", "a blue bird"]),
        "x": torch.randn(2, 3, 32, 32),
        "t": torch.tensor([500, 900]),
    }
    runner = doctest.DocTestRunner(checker=Checker())
    for test in doctest.DocTestFinder().find(module, name, extraglobs=given):
        for example in test.examples:
            example.source = example.source.replace("n=64", "n=4")
        runner.run(test)
    assert runner.tries > 0
    assert runner.failures == 0
