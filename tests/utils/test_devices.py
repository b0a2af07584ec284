"""Whoever computes beside another command of ours lets its threads sleep."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import pytest

from t2ikit.utils import devices
from t2ikit.utils.devices import SETTINGS, OtherPrograms

fcntl = pytest.importorskip("fcntl")

CODE = """
import os, sys
from pathlib import Path
from t2ikit.utils.devices import share_cores
{before}
slept = share_cores(Path(sys.argv[1]))
print(slept, os.environ.get("OMP_WAIT_POLICY"), flush=True)
sys.stdin.read()
"""


def start(lock: Path, before: str = "", **environment: str) -> subprocess.Popen[str]:
    kept = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    words = [sys.executable, "-c", CODE.format(before=before), str(lock)]
    pipe = subprocess.PIPE
    return subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True, env={**kept, **environment})


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


TIMES = namedtuple("TIMES", "user system idle iowait guest guest_nice")
OWN = namedtuple("OWN", "user system")


def process(*readings, children=()):
    found = iter([OWN(*reading) for reading in readings])
    return SimpleNamespace(cpu_times=lambda: next(found), children=lambda recursive: children)


@pytest.mark.parametrize(("cores", "seconds", "taken"), [(2, 10, 0.5), (2, 0.9, 0), (3, 10, 0), (1, 10, 1.5)])
def test_cores_that_other_programs_take(monkeypatch, cores, seconds, taken):
    every = iter(
        [TIMES(100, 10, 900, 5, 20, 0), TIMES(113, 12, 905, 6, 24, 0)]
    )  # 15 s, guests' counted twice
    ours = process((50, 5), (56, 6), children=[process((1, 1), (3, 2))])  # 7 s, and 3 s of a worker
    clock = iter([7.0, 7.0 + seconds])
    monkeypatch.setattr(devices.psutil, "cpu_times", lambda: next(every))
    monkeypatch.setattr(devices.psutil, "cpu_count", lambda: cores)
    monkeypatch.setattr(devices.psutil, "Process", lambda: ours)
    monkeypatch.setattr(devices.os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)
    monkeypatch.setattr(devices.time, "perf_counter", lambda: next(clock))
    assert OtherPrograms().cores_taken() == pytest.approx(taken)


def test_the_second_sleeps_and_one_alone_spins(tmp_path):
    lock = tmp_path / "cores"
    with start(lock) as first:
        assert said(first) == "False None"
        with start(lock) as second, start(lock, OMP_WAIT_POLICY="ACTIVE") as chosen:
            assert said(second) == "True PASSIVE"
            assert said(chosen) == "False ACTIVE"
            for one in (second, chosen):
                one.communicate("")
        first.communicate("")
    with start(lock) as after:
        assert said(after) == "False None"
        after.communicate("")


def test_after_torch_or_without_a_lock_nothing_changes(tmp_path):
    lock = tmp_path / "cores"
    with start(lock) as first:
        said(first)
        with start(lock, before="sys.modules['torch'] = None") as late:
            assert said(late) == "False None"
            late.communicate("")
        first.communicate("")
    (tmp_path / "link").symlink_to(tmp_path / "victim")
    for place in (tmp_path / "nowhere" / "cores", tmp_path / "link"):
        with start(place) as one:
            assert said(one) == "False None"
            one.communicate("")
    assert not (tmp_path / "victim").exists()


def test_a_command_that_computes_shares_the_cores(monkeypatch):
    from t2ikit.cli import command

    calls = []
    monkeypatch.setattr(command, "share_cores", lambda: calls.append("shared"))
    command.prepared("x", lambda: None, computes=True)(quiet=True, verbose=False)
    command.prepared("x", lambda: None, computes=False)(quiet=True, verbose=False)
    assert calls == ["shared"]
