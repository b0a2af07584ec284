"""What a run says of its speed: in the log, and at the end."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
import torch

from t2ikit.core import stopwatch
from t2ikit.core.stopwatch import Lap, StopWatch
from t2ikit.nn.flops import ModelFlops
from t2ikit.runs.log import read_log
from t2ikit.training import display, trainer
from training_support import RARELY, train_toy

CPU = torch.device("cpu")


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only when it is told to."""
    now = SimpleNamespace(seconds=0.0)
    now.passes = lambda seconds: setattr(now, "seconds", now.seconds + seconds)
    monkeypatch.setattr(stopwatch.time, "monotonic", lambda: now.seconds)
    return now


def late(clock, seconds: float, items):
    for item in items:
        clock.passes(seconds)
        yield item


def test_waiting_is_for_the_item_and_for_what_is_made_of_it(clock):
    watch = StopWatch(5, CPU)

    def make(item: int) -> int:
        clock.passes(0.5)
        return 10 * item

    for item, made in watch.awaited(late(clock, 1.0, range(4)), make):
        assert made == 10 * item
        clock.passes(2.5)
    lap = watch.lap(9)
    assert (lap.steps, lap.seconds, lap.waited) == (4, 16.0, 6.0)
    assert lap.record(8, 0, None) == {"images_per_second": 2.0, "data_wait": 0.375}
    assert watch.lap(9) == Lap(0, 0.0, 0.0)


def test_pauses_are_left_out_of_laps_and_of_the_whole(clock):
    watch = StopWatch(0, CPU)
    clock.passes(1)
    watch.pause()
    clock.passes(100)
    watch.pause()
    watch.go_on()
    clock.passes(2)
    assert watch.lap(3).seconds == 3
    clock.passes(4)
    watch.pause()
    clock.passes(100)
    assert watch.end(5) == Lap(5, 7.0, 0.0)


def test_on_a_gpu_waiting_counts_as_far_as_the_device_idles(clock, monkeypatch):
    moments = iter([0.0, 0.3, 1.0, 9.0, 9.0])  # seconds at which the device comes to the events

    class Event:
        def record(self, stream) -> None:
            self.seconds = next(moments)

        def synchronize(self) -> None:
            pass

        def elapsed_time(self, later) -> float:
            return 1000 * (later.seconds - self.seconds)

    monkeypatch.setattr(torch.cuda, "Event", lambda enable_timing: Event())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: None)
    watch = StopWatch(0, torch.device("cuda"))
    for _ in watch.awaited(late(clock, 2.0, range(2)), lambda item: item):
        clock.passes(1.0)
    assert watch.lap(2).waited == pytest.approx(0.3 + 2.0)


def test_the_log_and_the_end_say_it(tmp_path, monkeypatch):
    said: list[str] = []
    monkeypatch.setattr("t2ikit.training.session.detail", said.append)
    monkeypatch.setattr(trainer, "device_peak", lambda device, precision: 1e12)
    began = time.perf_counter()
    run = train_toy(tmp_path / "run", {"train.steps": 6, "train.log_every": 2, **RARELY})
    took = time.perf_counter() - began
    lines = read_log(run.path / "log.jsonl")
    assert [line["step"] for line in lines] == [2, 4, 6]
    flops = {round(line["mfu"] * 1e12 * 2 * 4 / line["images_per_second"]) for line in lines}
    assert len(flops) == 1  # each line's share times its seconds: the same work
    assert min(flops) > 1000
    assert all(0 <= line["data_wait"] <= 1 for line in lines)
    (sentence,) = [line for line in said if "images/s" in line]
    assert sentence.startswith("6 steps in 0:00:0")
    assert 0 < 6 * 4 / float(sentence.split(": ")[1].split(" ")[0]) < took


def test_without_a_known_peak_there_is_no_mfu(tmp_path):
    run = train_toy(tmp_path / "run", {"train.steps": 2, "train.log_every": 1, **RARELY})
    lines = read_log(run.path / "log.jsonl")
    assert all("data_wait" in line and "mfu" not in line for line in lines)


def test_the_sentence_at_the_end():
    lap = Lap(steps=100, seconds=50.0, waited=2.0)
    assert display.summary(lap, 16, 10**15, 1e14) == (
        "100 steps in 0:00:50: 32 images/s, 20 % of the device's peak (MFU); 4 % of the time was spent "
        "waiting for data"
    )
    assert "MFU" not in display.summary(lap, 16, 0, None)


def test_flops_that_are_not_counted_yet_count_nothing():
    flops = ModelFlops(1e12)
    flops.add("generator", ["denoise"])
    assert flops.read() == (0, 1e12)
