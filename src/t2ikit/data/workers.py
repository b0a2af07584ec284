"""Worker processes that prepare batches while the model trains, through torch's `DataLoader`."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Generator, Iterator
from typing import Any, Literal

from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from t2ikit.errors import UserError
from t2ikit.utils.console import SCREEN, Verbosity, set_verbosity

Read = Callable[[int, int], Iterator[Any]]
"""From (i, n) to the items that worker i of n prepares: of all items every n-th, from the i-th on."""
MOST_WORKERS = 8
"""That a training process has by itself."""
MOST_OF_A_STREAM = 1
"""More would not help: each had to open every shard, which is decoded by several threads already."""
PREFETCHED = 4
"""Batches that each worker prepares ahead."""
_warnings: list[Warning | str] = []
"""What this worker process has to warn of."""


def resolve_workers(
    setting: int | Literal["auto"], device: str, *, cores: int, processes: int, streaming: bool
) -> int:
    """How many worker processes one training process has.

    A GPU waits for none of its data. On a CPU the training itself uses all cores, and only streams, which may
    wait for a disk or a network, are read ahead.

    Args:
        setting: `train.num_workers`.
        device: the kind that is trained on, such as "cuda".
        cores: of this machine, which its training processes share.
        processes: that train on this machine.
        streaming: whether the data is a stream.
    """
    if setting != "auto":
        return min(setting, MOST_OF_A_STREAM) if streaming else setting
    if streaming:
        return MOST_OF_A_STREAM
    return max(0, min(MOST_WORKERS, cores // processes - 1)) if device == "cuda" else 0


def usable_cores() -> int:
    """The cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def prepared(read: Read, num_workers: int) -> Generator[Any, None, None]:
    """The items that `read` gives, in order, prepared by `num_workers` processes; 0: by this one.

    Args:
        read: gives the items of a worker.
        num_workers: close what is returned when no more is wanted, and they end. Where processes cannot be
            forked (Windows), this one does it: a forked one knows the classes of plugin files, which another
            could not import.

    Raises:
        UserError: as raised by `read`, in whatever process.
    """
    if "fork" not in multiprocessing.get_all_start_methods():
        num_workers = 0
    loader = DataLoader(
        _Reader(read),
        batch_size=None,
        num_workers=num_workers,
        collate_fn=_as_is,
        prefetch_factor=PREFETCHED if num_workers else None,
        worker_init_fn=_start_worker if num_workers else None,
        multiprocessing_context="fork" if num_workers else None,
    )
    for item, told in loader:
        for warning in told:
            warnings.warn(warning, stacklevel=2)
        if isinstance(item, UserError):
            raise item
        yield item


class _Reader(IterableDataset[Any]):
    """Gives each item with the warnings that came with it, and a user's mistake as the last item.

    torch would print the warnings of a worker, and turn a `UserError` raised there into a traceback.
    """

    def __init__(self, read: Read) -> None:
        self.read = read

    def __iter__(self) -> Iterator[tuple[Any, list[Warning | str]]]:
        worker = get_worker_info()
        place = (worker.id, worker.num_workers) if worker else (0, 1)
        try:
            for item in self.read(*place):
                yield item, _taken_warnings()
        except UserError as error:
            yield error, _taken_warnings()


def _taken_warnings() -> list[Warning | str]:
    taken = _warnings[:]
    _warnings.clear()
    return taken


def _as_is(item: Any) -> Any:
    return item


def _start_worker(worker: int) -> None:
    """Leave signals, warnings and the terminal to the main process, whose live display was forked along."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    set_verbosity(Verbosity.quiet)
    SCREEN.progress = None
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    warnings.showwarning = lambda message, *_, **__: _warnings.append(message)


def _end_with_parent() -> None:
    """Where the main process was killed: torch notices that only between two items."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
