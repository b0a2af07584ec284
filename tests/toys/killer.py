"""A plugin file for the tests that kills its own process: at a step, or while a checkpoint is written."""

import os
import signal

from t2ikit import hookimpl
from t2ikit.runs import checkpoint
from t2ikit.training.trainer import Trainer

AT, WHERE = int(os.environ.get("KILL_AT", "-1")), os.environ.get("KILL_WHERE", "step")
_step, _write = Trainer.step, checkpoint.write_json
_seen = [0]


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def step(self, batch, number):
    _step(self, batch, number)
    _seen[0] = number + 1
    if number + 1 == AT and WHERE == "step":
        _kill()


def write_json(path, value):
    if WHERE == "save" and _seen[0] >= AT > 0 and path.name == "manifest.json":
        _kill()
    _write(path, value)


Trainer.step, checkpoint.write_json = step, write_json


@hookimpl
def t2ikit_step_end(run, step, scalars):
    if WHERE == "log" and step >= AT > 0:
        _kill()
