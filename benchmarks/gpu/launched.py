"""`python -m t2ikit` under a cap on GPU memory, or with its peak written down.

    T2IKIT_CAP_GIB=12 T2IKIT_PEAK=FILE.json python benchmarks/gpu/launched.py train ...

Both variables may be absent. Without CUDA neither does anything but to write an empty FILE.json.
"""

from __future__ import annotations

import atexit
import json
import os
import runpy
import sys
from pathlib import Path

import torch


def cap(gib: float) -> None:
    """Let PyTorch take no more of the GPU than this."""
    whole = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, gib * 2**30 / whole))


def write_peak(path: Path) -> None:
    """Write the peaks in MiB: allocated, reserved, and what CUDA takes beside them (of an idle GPU)."""
    peak = {}
    if torch.cuda.is_available():
        free, whole = torch.cuda.mem_get_info()
        peak = {
            "allocated_mib": torch.cuda.max_memory_allocated() / 2**20,
            "reserved_mib": torch.cuda.max_memory_reserved() / 2**20,
            "context_mib": (whole - free - torch.cuda.memory_reserved()) / 2**20,
        }
    path.write_text(json.dumps(peak))


if __name__ == "__main__":
    sys.path.pop(0)  # this folder, in place of which `python -m` has the current one
    if "T2IKIT_CAP_GIB" in os.environ and torch.cuda.is_available():
        cap(float(os.environ["T2IKIT_CAP_GIB"]))
    if "T2IKIT_PEAK" in os.environ:
        atexit.register(write_peak, Path(os.environ["T2IKIT_PEAK"]))
    runpy.run_module("t2ikit", run_name="__main__", alter_sys=True)
