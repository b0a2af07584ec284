"""Out of memory: how it is recognised, and how much is in use."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TypeVar

import psutil
import torch

R = TypeVar("R")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on any device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "out of memory" in text or "can't allocate memory" in text or "not enough memory" in text
    )


def release_memory() -> None:
    """Give back what a failed step held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def halving(
    function: Callable[[int], R], size: int, give_up: Callable[[int, BaseException], BaseException | None]
) -> R:
    """What `function` gives for `size`, or for half as much each time that memory runs out.

    Args:
        function: takes a size, such as that of a micro-batch.
        size: to begin with, at least 1.
        give_up: told of the size that failed and the error; what to raise, or None to try half the size,
            which must then be above 1.
    """
    while True:
        try:
            return function(size)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            final = give_up(size, error)
            if final is not None:
                raise final from error
            size //= 2
        release_memory()


def memory_mb(device: torch.device) -> float:
    """The most that was in use on a GPU, or what the process holds now on the CPU, megabytes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return psutil.Process().memory_info().rss / 2**20
