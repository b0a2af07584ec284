"""Weights that the libraries behind metrics download: looked for, fetched where possible, verified."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import sys
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import torch

from t2ikit.interfaces import NotMeasured

SECONDS = 10
"""How long a server may be silent."""
MEGABYTES = {
    "weights-inception-2015-12-05-6726825d.pth": 96,
    "vgg16-397923af.pth": 553,
    "alexnet-owt-7be5be79.pth": 244,
    "squeezenet1_1-b8a52dc0.pth": 5,
}
"""Sizes of files, as far as they are known."""


def need_weights(url: str) -> Path:
    """The file that torch.hub keeps of an address whose name ends in its hash, downloaded if need be.

    Its contents are checked against that hash, for what opens it trusts it.

    Raises:
        NotMeasured: it cannot be had, or is another file.
    """
    name = url.rsplit("/", 1)[1]
    path = Path(torch.hub.get_dir(), "checkpoints", name).expanduser()
    if not path.is_file():
        _download(url, path)
    prefix = path.stem.rsplit("-", 1)[1]
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if not found.startswith(prefix):
        raise NotMeasured(f"{path} is damaged (SHA-256 {found[:8]}..., not {prefix}...): delete it")
    return path


def _download(url: str, path: Path) -> None:
    place = str(path.parent).replace(str(Path.home()), "~", 1)
    missing = f"needs {path.name} in {place} (from {url})"
    if os.environ.get("HF_HUB_OFFLINE", "0").lower() in ("1", "true", "yes", "on"):
        raise NotMeasured(f"{missing}; not looked for, as HF_HUB_OFFLINE is set")
    prefix = path.stem.rsplit("-", 1)[1]
    size = f" ({MEGABYTES[path.name]} MB)" if path.name in MEGABYTES else ""
    print(f"downloading {path.name}{size} to {place} from {url}", file=sys.stderr)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _patience(SECONDS):
            torch.hub.download_url_to_file(url, str(path), hash_prefix=prefix, progress=True)
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        raise NotMeasured(f"{missing}; the download failed: {error}") from error


@contextlib.contextmanager
def _patience(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
