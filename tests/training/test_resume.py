"""A run is never lost: killed at any moment and resumed, it ends bit-identical on a CPU."""

from __future__ import annotations

import json
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
from filelock import FileLock
from safetensors.torch import load_file

from cli_process import run_command, start_command
from conftest import KILLER, TOYS
from t2ikit.runs import checkpoint as ckpt
from t2ikit.runs.log import TIMED, read_log

IMAGEN = [
    "train.steps=12",
    "train.batch=4",
    "train.log_every=5",
    "train.save_every=3",
    "train.sample_every=6",
    "train.samples=1",
    "train.validate_every=4",
    "train.validation_images=4",
    "data.size=16",
    "data.count=64",
    "generator.channels=[16,16]",
    "generator.head_width=16",
    "generator.attention=[false,true]",
    "sampler.steps=2",
]


def begin(kind: str) -> list[object]:
    """The words that begin a run of this kind."""
    if kind == "imagen":
        return ["train", "--plugin", "imagen", *(word for s in IMAGEN for word in ("--set", s))]
    return ["train", "--plugin", TOYS, "--recipe", f"toys/{kind}", "--set", "train.micro_batch=4"]


def final_state(run: Path) -> dict[str, object]:
    """Everything of a run that must not depend on its having been stopped."""
    last = ckpt.checkpoints(run)[-1]
    tensors = {
        f"{path.name}/{name}": tensor.numpy().tobytes()
        for path in sorted(last.glob("*.safetensors"))
        for name, tensor in load_file(path).items()
    }
    log = [{k: v for k, v in line.items() if k not in TIMED} for line in read_log(run / "log.jsonl")]
    samples = {path.name: path.read_bytes() for path in sorted((run / "samples").iterdir())}
    return {"tensors": tensors, "state": (last / "state.json").read_text(), "log": log, "samples": samples}


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "kills"), [("gan", 3), ("denoiser", 3), ("imagen", 2)])
def test_killed_again_and_again_and_resumed_each_time(kind, kills, cli, tmp_path):
    plugins = ["--plugin", KILLER] if kind == "imagen" else ["--plugin", TOYS, "--plugin", KILLER]
    assert cli(*begin(kind), "--out", "whole", cold=True).returncode == 0  # whose sets have another order
    whole = final_state(tmp_path / "whole")
    assert whole["log"]
    assert len(whole["samples"]) == 2
    rng = random.Random(kind)
    steps = [rng.randint(1, 12) for _ in range(kills)]
    done = 0
    for number, at in enumerate(steps):
        where = rng.choice(["step", "step", "log", "save"])
        if number == 0:
            words: list[object] = [*begin(kind), "--plugin", KILLER, "--out", "killed"]
        else:
            words = ["train", "--resume", "killed", *plugins]
        result = cli(*words, env={"KILL_AT": str(at), "KILL_WHERE": where})
        if result.returncode == 0:
            # Nothing was left to do before `at`: begin again, and be killed earlier.
            shutil.rmtree(tmp_path / "killed")
            result = cli(
                *begin(kind),
                "--plugin",
                KILLER,
                "--out",
                "killed",
                env={"KILL_AT": str(max(at, 4)), "KILL_WHERE": "step"},
            )
        assert result.returncode == -signal.SIGKILL, result.stderr
        done += 1
        if not ckpt.checkpoints(tmp_path / "killed"):
            shutil.rmtree(tmp_path / "killed")
            words = [*begin(kind), "--plugin", KILLER, "--out", "killed"]
            assert cli(*words, env={"KILL_AT": "5"}).returncode == -signal.SIGKILL
    assert done == kills
    result = cli("train", "--resume", "killed", *plugins)
    assert result.returncode == 0, result.stderr
    assert final_state(tmp_path / "killed") == whole


def interrupt_when_logged(cli_words, cwd: Path, run: Path):
    """Start a run, send Ctrl-C after its first log line, and wait for it."""
    process = start_command(cli_words, cwd=cwd)
    until = time.monotonic() + 60
    while not (run / "log.jsonl").exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


@pytest.mark.slow
def test_ctrl_c_saves_and_the_run_goes_on_identically(cli, tmp_path):
    words = [*begin("denoiser"), "--set", "train.steps=160", "--set", "train.save_every=1000"]
    words += ["--set", "train.sample_every=80", "--set", "train.validate_every=40"]
    assert cli(*words, "--out", "whole").returncode == 0
    code, out, err = interrupt_when_logged([*words, "--out", "stopped"], tmp_path, tmp_path / "stopped")
    assert code == 1, err
    assert "t2ikit train --resume stopped" in out
    assert "Traceback" not in err
    assert len(ckpt.checkpoints(tmp_path / "stopped")) == 1
    result = cli("train", "--resume", "stopped", "--plugin", TOYS)
    assert result.returncode == 0, result.stderr
    assert final_state(tmp_path / "stopped") == final_state(tmp_path / "whole")


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    assert run_command([*begin("denoiser"), "--out", "run"], cwd=folder).returncode == 0
    return folder / "run"


@pytest.fixture
def short_run(finished_run, tmp_path):
    return shutil.copytree(finished_run, tmp_path / "run")


@pytest.mark.slow
def test_a_damaged_checkpoint_is_set_aside_and_said(cli, short_run, tmp_path):
    whole = final_state(short_run)
    newest, before = ckpt.checkpoints(short_run)[-1], ckpt.checkpoints(short_run)[-2]
    weights = newest / "generator.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    result = cli("train", "--resume", "run", "--plugin", TOYS)
    assert result.returncode == 0, result.stderr
    assert "generator.safetensors is missing or damaged" in result.stderr
    assert f"going on from step {ckpt.step_of(before)}" in " ".join(result.stderr.split())
    assert (short_run / "checkpoints" / f"damaged-{newest.name}").is_dir()
    assert final_state(short_run) == whole


@pytest.mark.slow
def test_no_whole_checkpoint_is_an_error_and_never_a_fresh_start(cli, short_run):
    for folder in ckpt.checkpoints(short_run):
        (folder / "manifest.json").unlink()
    result = cli("train", "--resume", "run", "--plugin", TOYS)
    assert result.returncode == 2
    assert "no checkpoint to go on from" in result.stderr
    assert len(ckpt.checkpoints(short_run)) > 0
    shutil.rmtree(short_run / "checkpoints")
    assert cli("train", "--resume", "run", "--plugin", TOYS).returncode == 2


@pytest.mark.slow
def test_two_processes_cannot_train_the_same_run(cli, short_run, tmp_path):
    run = tmp_path / "held"
    shutil.copytree(short_run, run)
    before = (run / "log.jsonl").read_bytes()
    with FileLock(run / ".training.lock"):
        result = cli("train", "--resume", run, "--plugin", TOYS, "--set", "train.steps=40")
    assert result.returncode == 2
    assert "another process is training this run" in result.stderr
    assert (run / "log.jsonl").read_bytes() == before


@pytest.mark.slow
def test_a_run_holds_no_pickle(cli, short_run):
    """Nothing but TOML, JSON, PNG and safetensors; a pickle or a zip of pickles would show its magic."""
    for path in (p for p in short_run.rglob("*") if p.is_file()):
        assert path.suffix in {".toml", ".json", ".jsonl", ".png", ".safetensors", ".lock"}, path
        head = path.read_bytes()[:4]
        assert not head.startswith((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK")), path
        if path.suffix == ".json":
            json.loads(path.read_text())


@pytest.mark.slow
def test_a_longer_run_may_be_asked_for_but_not_another(cli, short_run):
    result = cli("train", "--resume", "run", "--plugin", TOYS, "--set", "train.steps=14")
    assert result.returncode == 0, result.stderr
    assert ckpt.step_of(ckpt.checkpoints(short_run)[-1]) == 14
    result = cli("train", "--resume", "run", "--plugin", TOYS, "--set", "train.batch=4")
    assert result.returncode == 2
    assert "cannot change when a run goes on" in result.stderr
