"""Worker processes end with what asked for them, whatever they are doing."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import torch

from t2ikit.core.batch import Record
from t2ikit.data.loader import StreamLoader


class Busy:
    """A stream that is always at work in torch."""

    def records(self, *place: int) -> Iterator[Record]:
        for number in itertools.count():
            product = torch.ones(300, 300) @ torch.ones(300, 300)
            yield Record(product[:3, :8, None].expand(3, 8, 8), ("an image",), str(number))


class Stalled(Busy):
    """A stream that never answers after its first step."""

    def records(self, *place: int) -> Iterator[Record]:
        yield from itertools.islice(super().records(*place), 4)
        time.sleep(3600)


def test_a_worker_ends_when_the_batches_do() -> None:
    assert len(list(StreamLoader(Busy(), 0, 4, num_workers=1).steps(2, 5))) == 3
    assert not multiprocessing.active_children()


def test_a_worker_ends_when_the_batches_are_closed() -> None:
    with closing(StreamLoader(Busy(), 0, 4, num_workers=1).steps()) as batches:
        next(batches)
        assert len(multiprocessing.active_children()) == 1
    assert not multiprocessing.active_children()


def test_several_workers_share_one_reader_of_a_stream() -> None:
    with closing(StreamLoader(Busy(), 0, 4, num_workers=3).steps()) as batches:
        next(batches)
        assert len(multiprocessing.active_children()) == 1


def test_a_source_that_never_answers_does_not_keep_the_run() -> None:
    batches = StreamLoader(Stalled(), 0, 4, num_workers=1).steps()
    next(batches)
    batches.close()
    assert not multiprocessing.active_children()


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(("source", "how"), [("Busy", ""), ("Stalled", "SIGINT"), ("Stalled", "SIGKILL")])
def test_no_process_is_left_behind(source, how) -> None:
    from conftest import heed_interrupts  # here, for the script below imports this file from elsewhere

    script = f"""
        import multiprocessing, time
        from test_workers import {source}, StreamLoader
        batches = StreamLoader({source}(), 0, 4, num_workers=1).steps()
        next(batches)
        print(multiprocessing.active_children()[0].pid, flush=True)
        {"time.sleep(3600)" if how else ""}
    """
    words = [sys.executable, "-c", "\n".join(line.strip() for line in script.splitlines())]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "preexec_fn": heed_interrupts}
    with subprocess.Popen(words, cwd=Path(__file__).parent, text=True, **options) as process:
        try:
            worker = int(process.stdout.readline())
            if how:
                process.send_signal(getattr(signal, how))
            _, errors = process.communicate(timeout=120)
        finally:
            process.kill()
    assert (process.returncode == 0) == (not how), errors
    until = time.monotonic() + 30
    while alive(worker) and time.monotonic() < until:
        time.sleep(0.1)
    assert not alive(worker)
