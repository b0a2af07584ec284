"""Weights that the libraries behind metrics download: looked for, fetched where possible, verified."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import torch

from t2ikit.core.metric import Download, NotMeasured
from t2ikit.metrics.identity import file_digest
from t2ikit.utils import hub
from t2ikit.utils.console import SCREEN, log, wants_bars

INCEPTION = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
VGG16 = "https://download.pytorch.org/models/vgg16-397923af.pth"
ALEXNET = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"
SQUEEZENET = "https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth"
MEGABYTES = {INCEPTION: 96, VGG16: 553, ALEXNET: 244, SQUEEZENET: 5}
"""Sizes of the files behind these addresses, 10^6 bytes."""


def place(url: str) -> Path:
    """Where torch.hub keeps the file of an address."""
    return Path(torch.hub.get_dir(), "checkpoints", url.rsplit("/", 1)[1]).expanduser()


def downloads(url: str) -> list[Download]:
    """The file of an address, unless it is here."""
    path = place(url)
    return [] if path.is_file() else [Download(path.name, MEGABYTES.get(url), url)]


def present(url: str) -> str:
    """The name of the file of an address, which holds its hash, for what numbers depend on; "not here"."""
    path = place(url)
    return path.name if path.is_file() else "not here"


def need_weights(url: str) -> Path:
    """The file that torch.hub keeps of an address whose name ends in its hash, downloaded if need be.

    Its contents are checked against that hash, for what opens it trusts it.

    Raises:
        NotMeasured: it cannot be had, or is another file.
    """
    path = place(url)
    if not path.is_file():
        _download(url, path)
    prefix = path.stem.rsplit("-", 1)[1]
    found = file_digest(path)
    if not found.startswith(prefix):
        raise NotMeasured(f"{path} is damaged (SHA-256 {found[:8]}..., not {prefix}...): delete it")
    return path


def _download(url: str, path: Path) -> None:
    folder = str(path.parent).replace(str(Path.home()), "~", 1)
    missing = downloads(url)
    size = f" ({MEGABYTES[url]} MB)" if url in MEGABYTES else ""
    try:
        hub.require(url)
        log(f"downloading {path.name}{size} to {folder} from {url}")
        path.parent.mkdir(parents=True, exist_ok=True)
        with _patience(hub.patience()), SCREEN.pause():
            prefix = path.stem.rsplit("-", 1)[1]
            torch.hub.download_url_to_file(url, str(path), hash_prefix=prefix, progress=wants_bars())
    except hub.refusals() as error:
        what = f"needs {path.name}{size} in {folder} (from {url})"
        raise NotMeasured(f"{what}: the download failed: {hub.reason(error)}", downloads=missing) from error


@contextlib.contextmanager
def _patience(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
