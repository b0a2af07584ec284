"""Jobs one after another and side by side; once one is stopped, none begins."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from t2ikit.ablation import devices
from t2ikit.ablation.devices import run_all, side_by_side


def work(folder: Path, job: int) -> bool:
    """Leave a file named like the job; the second one is stopped at once, the others take a while."""
    (folder / str(job)).touch()
    if job != 1:
        time.sleep(0.3)
    return job != 1


def broken(job: int) -> bool:
    """A job that fails."""
    raise ValueError(job)


def slow(folder: Path, job: int) -> bool:
    """A job that only Ctrl-C ends."""
    (folder / str(job)).touch()
    time.sleep(60)
    return True


class Interrupted:
    """A pool in which jobs begin at once and never end; then someone presses Ctrl-C."""

    def __init__(self) -> None:
        self.begun: list[int] = []

    def submit(self, work, job):
        self.begun.append(job)
        return Future()


def test_jobs_stop_where_one_is_stopped(tmp_path):
    assert not run_all(functools.partial(work, tmp_path), range(6))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1"]


def test_side_by_side_in_processes_none_begins_after_a_stop(tmp_path):
    assert not run_all(functools.partial(work, tmp_path), range(6), ["0", "1"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1"]


def test_side_by_side_all_are_done(tmp_path):
    with ThreadPoolExecutor(2) as pool:
        assert side_by_side(pool, functools.partial(work, tmp_path), [0, 2, 3, 4], 2)
    assert len(list(tmp_path.iterdir())) == 4


def test_none_begins_after_a_failure():
    begun = []

    def job(number):
        begun.append(number)
        return broken(number)

    with ThreadPoolExecutor(2) as pool, pytest.raises(ValueError, match="0"):
        side_by_side(pool, job, range(6), 1)
    assert begun == [0]


def test_none_begins_after_ctrl_c(monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(devices, "wait", interrupted)
    pool = Interrupted()
    assert not side_by_side(pool, bool, range(6), 2)
    assert pool.begun == [0, 1]


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals to a group of processes")
def test_ctrl_c_stops_all_processes_and_none_begins(tmp_path):
    code = (
        "import functools, pathlib, test_ablation_devices as tests; "
        f"print(tests.run_all(functools.partial(tests.slow, pathlib.Path({str(tmp_path)!r})), "
        "range(6), ['0', '1']))"
    )
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,
    )
    until = time.monotonic() + 60
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < until:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=30)[0] == "False\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1"]
