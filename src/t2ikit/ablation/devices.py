"""Runs one after another, or side by side where there are several GPUs."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

Job = TypeVar("Job")
VISIBLE = "CUDA_VISIBLE_DEVICES"


def gpus(device: str) -> list[str]:
    """The GPUs to use, as CUDA_VISIBLE_DEVICES names them; empty: whatever `device` says, in this process."""
    import torch  # lazily: a process that takes a device does so before

    if device not in ("auto", "cuda") or torch.cuda.device_count() < 2:
        return []
    named = [one for one in os.environ.get(VISIBLE, "").split(",") if one]
    return named or [str(number) for number in range(torch.cuda.device_count())]


def run_all(work: Callable[[Job], bool], jobs: Sequence[Job], devices: Sequence[str] = ()) -> bool:
    """Do all jobs; False as soon as one says that it was stopped.

    Args:
        work: does one job, says whether it was finished; where there are devices, it can be pickled.
        jobs: in the order they begin.
        devices: each taken by one process; empty: one job after another in this one.
    """
    if not devices:
        return all(work(job) for job in jobs)  # stops at the first that was stopped
    context = multiprocessing.get_context("spawn")
    free: Any = context.Queue()
    for device in devices:
        free.put(device)
    with ProcessPoolExecutor(len(devices), context, initializer=_take, initargs=(free,)) as pool:
        return all(list(pool.map(work, jobs)))


def _take(free: Any) -> None:
    """Give this process a device of its own, before it looks for any."""
    os.environ[VISIBLE] = free.get()
