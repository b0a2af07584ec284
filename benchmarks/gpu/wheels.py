"""Packages for one measurement, from a folder of wheels and without a network."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path


def missing(wheels: Path) -> list[Path]:
    """The wheels of a folder whose package is not installed, in any version."""
    found = []
    for wheel in sorted(wheels.glob("*.whl")):
        try:
            importlib.metadata.version(wheel.name.split("-")[0].replace("_", "-"))
        except importlib.metadata.PackageNotFoundError:
            found.append(wheel)
    return found


def install(wheels: Path, target: Path) -> Path:
    """Install what is missing into a folder, which goes on PYTHONPATH.

    Raises:
        SystemExit: pip refuses.
    """
    target.mkdir(parents=True, exist_ok=True)
    chosen = missing(wheels)
    if chosen:
        options = ["--disable-pip-version-check", "--no-deps", "--target", str(target)]
        command = [sys.executable, "-m", "pip", "install", "--quiet", *options, *map(str, chosen)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"--wheels {wheels}: pip refuses: {done.stderr.strip()}")
    return target
