"""Time and memory as the benchmarks of this folder measure them."""

from __future__ import annotations

import ctypes
import gc
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from t2ikit.sampling.costs import processor as machine

Step = Callable[[], Any]


def timed(step: Step, device: str) -> float:
    """Seconds of one call."""
    if device == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    step()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def alternate(steps: dict[str, Step], repeats: int, device: str) -> dict[str, float]:
    """Median seconds of each, taking turns, after two turns of warming up."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(repeats + 2):
        for name, step in steps.items():
            spent = timed(step, device)
            if turn >= 2:
                seconds[name].append(spent)
    return {name: statistics.median(spent) for name, spent in seconds.items()}


def peak_added(step: Step, device: str) -> float:
    """MiB that a call takes at its peak beyond what there was; on a CPU (Linux) in a process of its own."""
    gc.collect()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # begin a new peak
    before = resident("VmRSS")
    step()
    return resident("VmHWM") - before


def resident(field: str) -> float:
    """MiB of this process by a field of /proc/self/status: VmRSS now, VmHWM at its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def processor(device: str) -> str:
    """What computed."""
    name = machine(torch.device(device))
    return name if device == "cuda" else f"{name}, {torch.get_num_threads()} threads"
