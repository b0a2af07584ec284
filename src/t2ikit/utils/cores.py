"""The processor's cores, when several commands of ours compute on one machine at once.

OpenMP's threads wait for one another by spinning: the fastest way alone, and ruinous beside another process
that spins on the same cores, since each keeps the other from the work it waits for. So whoever comes second
lets its threads sleep instead. On two cores a pair then does about as much as one alone, not a tenth of it.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from t2ikit.utils.console import detail

try:
    import fcntl
except ImportError:  # Windows, whose OpenMP has none of these settings
    fcntl = None  # type: ignore[assignment]

SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""What says how threads wait; a user's own choice stays."""
_held: list[int] = []


def share_cores(lock: Path | None = None) -> bool:
    """Let this process's threads sleep while they wait, where another command of ours computes already.

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
