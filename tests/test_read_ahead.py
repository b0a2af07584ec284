"""The thread that reads a stream ahead: it ends with what asked for it, and never takes the process along."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import torch

from t2ikit.core.batch import Record
from t2ikit.data import streaming
from t2ikit.data.streaming import StreamLoader


class Busy:
    """A stream that is always at work in torch."""

    def records(self, *where: int) -> Iterator[Record]:
        for number in itertools.count():
            product = torch.ones(300, 300) @ torch.ones(300, 300)
            yield Record(product[:3, :8, None].expand(3, 8, 8), ("an image",), str(number))


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "t2ikit stream"]


def test_the_thread_ends_when_the_shares_do() -> None:
    assert len(list(StreamLoader(Busy(), 0, 4).steps(2, 5))) == 3
    assert not readers()


def test_the_thread_ends_when_the_shares_are_closed() -> None:
    with closing(StreamLoader(Busy(), 0, 4).steps(0)) as shares:
        next(shares)
        assert len(readers()) == 1
    assert not readers()


def test_the_thread_does_not_finish_its_step_first() -> None:
    read = []

    class Slow(Busy):
        def records(self, *where: int) -> Iterator[Record]:
            for record in super().records(*where):
                read.append(record)
                yield record
                time.sleep(0.05 if len(read) > 100 else 0)  # 5 seconds a step after the first

    with closing(StreamLoader(Slow(), 0, 100).steps(0)) as shares:
        next(shares)
    assert not readers()
    assert len(read) < 200


def test_a_source_that_never_answers_does_not_keep_the_run(monkeypatch) -> None:
    monkeypatch.setattr(streaming, "STALLED", 0.05)
    answered = threading.Event()

    class Stalled(Busy):
        def records(self, *where: int) -> Iterator[Record]:
            yield from itertools.islice(super().records(*where), 4)
            answered.wait(60)

    shares = StreamLoader(Stalled(), 0, 4).steps(0)
    next(shares)
    shares.close()
    (reader,) = readers()
    answered.set()
    reader.join(60)
    assert not readers()


def test_the_thread_itself_may_close_the_shares(monkeypatch) -> None:
    """As where its garbage collector finds them."""
    left, closed, shares = [], threading.Event(), []
    monkeypatch.setattr(sys, "unraisablehook", left.append)

    class Closing(Busy):
        def records(self, *where: int) -> Iterator[Record]:
            for number, record in enumerate(super().records(*where)):
                yield record
                if number == 7:
                    ready.wait(60)
                    shares.pop().close()
                    closed.set()

    ready = threading.Event()
    shares.append(StreamLoader(Closing(), 0, 4).steps(0))
    next(shares[0])
    (reader,) = readers()
    ready.set()
    reader.join(60)
    assert closed.is_set()
    assert not readers()
    assert not left


@pytest.mark.parametrize("how", ["shares.close()", "pass"])
def test_the_process_ends_well(how) -> None:
    """A daemon thread at work in torch while the interpreter goes down would abort it."""
    script = f"""
        from test_read_ahead import Busy, StreamLoader
        shares = StreamLoader(Busy(), 0, 4).steps(0)
        next(shares)
        {how}
    """
    words = [sys.executable, "-c", "\n".join(line.strip() for line in script.splitlines())]
    result = subprocess.run(words, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
