"""Whoever computes beside another command of ours lets its threads sleep."""

from __future__ import annotations

import os
import subprocess
import sys
import time
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


def test_only_other_programs_count_as_busy(monkeypatch):
    machine = namedtuple("machine", "user system idle iowait guest guest_nice")
    own = namedtuple("own", "user system")
    every = iter([machine(100, 10, 900, 5, 20, 0), machine(113, 12, 905, 6, 24, 0)])
    ours = iter([own(50, 5), own(58, 6)])
    clock = iter([7.0, 17.0])
    monkeypatch.setattr(devices.psutil, "cpu_times", lambda: next(every))
    monkeypatch.setattr(devices.psutil, "Process", lambda: SimpleNamespace(cpu_times=lambda: next(ours)))
    monkeypatch.setattr(devices.time, "perf_counter", lambda: next(clock))
    # 13 + 2 seconds of programs, of which guests' are counted twice as they are read: 4; 9 are ours
    assert OtherPrograms().busy_cores() == pytest.approx((13 + 2 + 4 - 4 - 9) / 10)


def test_a_program_beside_this_one_is_seen():
    others, began = OtherPrograms(), time.perf_counter()
    code = "import time\nwhile time.process_time() < 0.5: pass"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert others.busy_cores() > 0.4 / (time.perf_counter() - began)


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
