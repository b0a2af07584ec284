"""Two processes with two micro-batches each give what one process gives."""

from __future__ import annotations

import os
import socket

import pytest
import torch
from safetensors.torch import load_file

from conftest import TOYS
from t2ikit.runs import checkpoint as ckpt
from t2ikit.runs.log import TIMED, read_log
from t2ikit.runs.open import open_run

WITNESS = """
import atexit, os
from pathlib import Path

def tell():
    threads = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    place = Path(__file__).parent / f"threads-{os.environ['RANK']}"
    place.write_text("\\n".join(name for name in threads if "gloo" in name))

if "RANK" in os.environ:
    atexit.register(tell)
"""
"""sitecustomize.py: which of gloo's threads are left when a process of torchrun ends."""


def two_processes() -> tuple[str, ...]:
    """torchrun for two processes on this machine, over gloo."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return ("-m", "torch.distributed.run", "--nproc_per_node=2", f"--master_port={port}")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gan", "denoiser"])
def test_two_processes_and_two_micro_batches_equal_one_process(kind, cli, tmp_path):
    words = ["train", "--plugin", TOYS, "--recipe", f"toys/{kind}", "--device", "cpu"]
    words += ["--set", "train.ema_snapshots=2"]
    one = cli(*words, "--out", "one")
    assert one.returncode == 0, one.stderr
    (tmp_path / "witness").mkdir()
    (tmp_path / "witness" / "sitecustomize.py").write_text(WITNESS)
    words += ["--set", "train.micro_batch=2", "--out", "two"]
    env = {"PYTHONPATH": os.pathsep.join([str(tmp_path / "witness"), os.environ.get("PYTHONPATH", "")])}
    two = cli(*words, env=env, launcher=two_processes(), timeout=120)
    assert two.returncode == 0, two.stderr
    left = {path.name: path.read_text() for path in (tmp_path / "witness").glob("threads-*")}
    assert left == {"threads-0": "", "threads-1": ""}  # they would abort or hang the process that ends
    assert open_run(tmp_path / "two").info["processes"] == 2
    a, b = (ckpt.checkpoints(tmp_path / name)[-1] for name in ("one", "two"))
    names = {path.name for path in a.glob("*.safetensors")}
    assert names == {path.name for path in b.glob("*.safetensors")}
    for name in names - {path.name for path in a.glob("optimizer.*")}:
        left, right = load_file(a / name), load_file(b / name)
        for key in left:
            torch.testing.assert_close(right[key], left[key], atol=1e-5, rtol=0)
    stored = [
        sorted(path.name for path in (tmp_path / name / "averages").iterdir()) for name in ("one", "two")
    ]
    assert stored[0] == stored[1] == ["step-00000006", "step-00000012"]
    states = [ckpt.load_latest(tmp_path / name)[0].state for name in ("one", "two")]
    assert states[0]["words"] == states[1]["words"]
    logs = [read_log(tmp_path / name / "log.jsonl") for name in ("one", "two")]
    for left, right in zip(*logs, strict=True):
        for key in set(left) - set(TIMED):
            assert right[key] == pytest.approx(left[key], abs=1e-5), key


@pytest.mark.slow
def test_a_batch_that_cannot_be_shared_is_refused(cli):
    words = ["train", "--plugin", TOYS, "--recipe", "toys/gan", "--set", "train.batch=7", "--device", "cpu"]
    result = cli(*words, launcher=two_processes(), timeout=120)
    assert result.returncode != 0
    assert "7 images cannot be shared by 2 processes" in result.stderr


@pytest.mark.slow
def test_two_processes_stop_a_timed_run_at_the_same_step(cli, tmp_path):
    """A process that made a step more would wait for the other one for ever."""
    words = ["train", "--plugin", TOYS, "--recipe", "toys/denoiser", "--device", "cpu", "--minutes", "0.02"]
    result = cli(*words, "--out", "run", launcher=two_processes(), timeout=120)
    assert result.returncode == 0, result.stderr
    run = open_run(tmp_path / "run")
    assert run.finished
    assert run.table["train"]["steps"] == run.steps_done > 1
    assert run.log()[-1]["lr/generator"] < 1e-4
