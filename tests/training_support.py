"""What the tests of training have in common: small runs in this process, and ways to stop them."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
from safetensors.torch import load_file

import t2ikit
from conftest import TOYS
from t2ikit.runs import checkpoint as ckpt
from t2ikit.runs.log import TIMED, read_log
from t2ikit.text.vocabulary import write_words

SMALL = {
    "train.batch": 4,
    "train.samples": 1,
    "train.validation_images": 4,
    "train.prompts": ["a red square", "a blue square"],
}
RARELY = {"train.validate_every": 100, "train.sample_every": 100, "train.save_every": 100}
"""Settings under which nothing but steps takes time before the last one."""


@pytest.fixture(scope="module", autouse=True)
def no_curves():
    """Leave out the plot of the losses, which takes longer than the tiny training itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("t2ikit.training.session.plot_curves", lambda log, out: None)
        yield


def train_toy(out: Path | str | None = None, set=None, recipe="toys/denoiser", **options):
    """Train a toy in this process."""
    kind = {"recipe": recipe} if "resume" not in options else {}
    settings = {**SMALL, **(set or {})} if kind else (set or {})
    return t2ikit.train(
        TOYS, **kind, set=settings, out=out, **{"device": "cpu", "progress": False, **options}
    )


def export_of(run, out: Path) -> Path:
    """What an export of a toy would be, which none can be as its plugin is a file."""
    shutil.copytree(run.path, out, ignore=shutil.ignore_patterns("checkpoints", "samples", "*.jsonl"))
    (out / "model_index.json").write_text("{}")
    (out / "generator").mkdir()
    last = ckpt.checkpoints(run.path)[-1]
    shutil.copy(last / "ema.safetensors", out / "generator" / "model.safetensors")
    write_words(out, ckpt.load(last).state.get("words"))
    (out / "run.json").write_text(json.dumps({**info_of(run.path), "step": run.steps_done}))
    return out


class At:
    """A callback that does something when a step is logged."""

    def __init__(self, step: int, action) -> None:
        self.step, self.action = step, action

    def step_end(self, run, step, scalars):
        if step == self.step:
            self.action()


class Killed(BaseException):
    """Stands for SIGKILL: no handler of ordinary errors sees it."""


def kill():
    raise Killed


def state_of(run: Path) -> dict[str, object]:
    """Everything of a run that must not depend on its having been stopped."""
    last = ckpt.checkpoints(run)[-1]
    tensors = {
        f"{path.name}/{name}": tensor.numpy().tobytes()
        for path in sorted(last.glob("*.safetensors"))
        for name, tensor in load_file(path).items()
    }
    log = [{k: v for k, v in line.items() if k not in TIMED} for line in read_log(run / "log.jsonl")]
    grids = {path.name: path.read_bytes() for path in (run / "samples").iterdir()}
    return {"tensors": tensors, "state": (last / "state.json").read_text(), "log": log, "grids": grids}


def info_of(run: Path) -> dict[str, object]:
    """What run.json holds."""
    return json.loads((run / "run.json").read_text())


def interrupted(out: Path, set=None, *, at: int, **options):
    """A run that Ctrl-C stopped after a step, which its log must have."""
    stop = At(at, lambda: os.kill(os.getpid(), signal.SIGINT))
    return train_toy(out, set, callbacks=[stop], **options)
