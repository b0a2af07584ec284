"""The commits that are measured, and what they run on. Only their command lines and files are used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

HERE = Path(__file__).resolve().parents[2]
PROBE = """
import json, platform, sys, torch
cuda = sys.argv[1] == "cuda"
print(json.dumps({
    "device": torch.cuda.get_device_name() if cuda else "CPU",
    "memory_gib": torch.cuda.mem_get_info()[1] / 2**30 if cuda else None,
    "torch": torch.__version__, "cuda": torch.version.cuda, "python": platform.python_version(),
}))
"""


@dataclass(frozen=True)
class Checkout:
    """A commit of t2ikit.

    Attributes:
        name: "this" or "before".
        path: its top folder.
        packages: a folder of packages for all that is measured, or None.
        cache: its cache, not the user's; None: that of the environment.
    """

    name: str
    path: Path
    packages: Path | None = None
    cache: Path | None = None

    def environment(self) -> dict[str, str]:
        """Variables under which `python -m t2ikit` is this commit."""
        folders = [self.path / "src", self.path / "plugins", *([self.packages] if self.packages else [])]
        cache = {"T2IKIT_CACHE": str(self.cache)} if self.cache else {}
        path = os.pathsep.join(map(str, folders))
        return {**os.environ, **cache, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}

    def commit(self) -> dict[str, object]:
        """Its commit, and whether files that git knows differ from it; both None outside of git."""
        try:
            head = _output("git", "-C", self.path, "rev-parse", "--short=10", "HEAD")
            changed = _output("git", "-C", self.path, "status", "--porcelain", "--untracked-files=no")
        except (OSError, subprocess.CalledProcessError):
            return {"commit": None, "dirty": None}
        return {"commit": head, "dirty": bool(changed)}


def _output(*words: object) -> str:
    command = [*map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _driver() -> str | None:
    try:
        return _output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader").splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return None


def find_versions(checkouts: Sequence[Checkout], device: str) -> dict[str, object]:
    """What a figure must be seen with: device, versions, commits and date.

    Raises:
        SystemExit: there is no such device.
    """
    probe = subprocess.run([sys.executable, "-c", PROBE, device], capture_output=True, text=True)
    if probe.returncode:
        said = (probe.stderr.strip().splitlines() or ["no answer"])[-1]
        hint = "" if device == "cpu" else "\n--device cpu tries everything at toy size"
        sys.exit(f"cannot measure on {device}: {said}{hint}")
    found = json.loads(probe.stdout)
    found["driver"] = _driver() if device == "cuda" else None
    for checkout in checkouts:
        found[checkout.name] = checkout.commit()
    return {**found, "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"), "toy": device == "cpu"}
