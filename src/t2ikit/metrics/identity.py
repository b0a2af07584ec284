"""What numbers depend on besides options: versions of packages, and the contents of a model's folder."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
from pathlib import Path

PATTERNS = ("*.json", "*.txt", "*.model", "*.safetensors")
BLOCK = 1 << 20


def versions(*packages: str) -> dict[str, str]:
    """Versions of those of the packages that are installed."""
    found = {}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def folder_digest(folder: Path) -> str:
    """SHA-256 over the names and the whole contents of a model's files, as 32 hexadecimal digits."""
    total = hashlib.sha256()
    for path in sorted({path for pattern in PATTERNS for path in folder.glob(pattern)}):
        total.update(f"{path.name} {file_digest(path)}\n".encode())
    return total.hexdigest()[:32]


def file_digest(path: Path) -> str:
    """SHA-256 of a file's contents, in hexadecimal; read once while the file stays the same."""
    state = path.stat()
    # A file that is written anew cannot keep the time at which its entry changed.
    return _file_digest(path, state.st_size, state.st_ctime_ns)


@functools.lru_cache(maxsize=64)
def _file_digest(path: Path, size: int, changed: int) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            found.update(block)
    return found.hexdigest()
