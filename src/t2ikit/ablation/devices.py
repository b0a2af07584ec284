"""Runs one after another, or side by side where there are several GPUs."""

from __future__ import annotations

import functools
import itertools
import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, ProcessPoolExecutor, wait
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
    """Do all jobs; False as soon as one says that it was stopped. Those that run by then end first.

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
        return side_by_side(pool, functools.partial(_interruptible, work), jobs, len(devices))


def side_by_side(pool: Executor, work: Callable[[Job], bool], jobs: Sequence[Job], most: int) -> bool:
    """Do all jobs, at most so many at once; none begins once one was stopped or failed, or after Ctrl-C.

    A job that a pool holds in its queue begins even so. Therefore none is submitted before it can begin.
    """
    left = iter(jobs)
    running = {pool.submit(work, job) for job in itertools.islice(left, most)}
    try:
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            finished = [one.result() for one in done]
            if not all(finished):
                return False
            running |= {pool.submit(work, job) for job in itertools.islice(left, len(done))}
    except KeyboardInterrupt:  # the terminal sends it to all processes: the trainings save
        return False
    return True


def _take(free: Any) -> None:
    """Give this process a device of its own, before it looks for any."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it would end a pool whose other processes still save
    os.environ[VISIBLE] = free.get()


def _interruptible(work: Callable[[Job], bool], job: Job) -> bool:
    """Do a job, which Ctrl-C may stop, unlike the process that does it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return work(job)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
