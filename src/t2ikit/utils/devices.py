"""Which device to compute on, and the CPU cores when several t2ikit commands share them.

OpenMP's threads wait for one another by spinning: the fastest way alone, but ruinous beside another process
that spins on the same cores, since each keeps the other from the work it waits for. So whichever command
starts second lets its threads sleep instead. On two cores a pair then gets about as much done as one alone,
not a tenth of it.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from t2ikit.errors import UserError
from t2ikit.utils.console import detail

if TYPE_CHECKING:
    import torch

try:
    import fcntl
except ImportError:  # Windows, whose OpenMP has none of these settings
    fcntl = None  # type: ignore[assignment]

SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""What says how threads wait; a user's own choice stays."""
_held: list[int] = []


def share_cores(lock: Path | None = None) -> bool:
    """Let this process's threads sleep while they wait, where another t2ikit command already computes.

    OpenMP reads its settings when PyTorch is imported: after that, nothing is changed.

    Args:
        lock: the empty file that all commands lock; None: one for each user among the temporary files.

    Returns:
        Whether it now sleeps.
    """
    if fcntl is None or "torch" in sys.modules or _held:
        return False
    try:
        alone = _lock(lock or Path(tempfile.gettempdir()) / f"t2ikit-cores-{os.getuid()}")
    except OSError:  # no such folder, another's file, a file system without locks: as if alone
        return False
    if alone or any(name in os.environ for name in SETTINGS):
        return False
    detail("another t2ikit command computes on this machine: threads sleep while they wait")
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    return True


def _lock(path: Path) -> bool:
    """Hold a shared lock until this process ends; whether nobody held one before."""
    file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
    _held.append(file)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        alone = True
    except BlockingIOError:
        alone = False
    fcntl.flock(file, fcntl.LOCK_SH)
    return alone


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bf16 by itself (AMX, AVX512_BF16); others emulate it, and are slow."""
    import torch

    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(bool(getattr(torch.cpu, check, bool)()) for check in checks)


def find_device(name: str) -> torch.device:
    """The device called auto, cpu, cuda or mps.

    Raises:
        UserError: it is not available here.
    """
    import torch  # lazily: OpenMP reads what `share_cores` sets when PyTorch is imported

    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, available in here.items() if available)
    if not here.get(name, False):
        raise UserError(
            f"--device {name}: there is no such device here",
            expected="auto or one of " + ", ".join(kind for kind, available in here.items() if available),
            got=name,
            fix="leave --device out to use the best there is",
        )
    detail(f"device: {name}, CPU threads {torch.get_num_threads()}, PyTorch {torch.__version__}")
    return torch.device(name)


class OtherPrograms:
    """How many of the CPU cores that this process may use other programs take, from now on."""

    def __init__(self) -> None:
        self._own = psutil.Process()
        self._began = self._read()

    def _read(self) -> tuple[float, float]:
        """The time, and seconds of CPU that all programs but this one and its children have used."""
        every, own = psutil.cpu_times(), self._own.cpu_times()
        idle = every.idle + getattr(every, "iowait", 0.0)
        guests = getattr(every, "guest", 0.0) + getattr(every, "guest_nice", 0.0)  # counted as users', too
        ours = own.user + own.system
        for child in self._own.children(recursive=True):
            with suppress(psutil.Error):
                used = child.cpu_times()
                ours += used.user + used.system
        return time.perf_counter(), sum(every) - idle - guests - ours

    def cores_taken(self) -> float:
        """Their number on average since this object was made; 0 after less than a second, too short to tell.

        Where there are more cores than this process may use, others take none as long as enough are left.
        """
        (began, before), (now, after) = self._began, self._read()
        if now - began < 1:
            return 0.0
        cores = psutil.cpu_count() or 1
        usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
        return max(0.0, (after - before) / (now - began) + usable - cores)
