"""The network: whether a server answers; repositories of the Hugging Face Hub, here and there."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shlex
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from t2ikit.errors import UserError
from t2ikit.utils.console import SCREEN, log
from t2ikit.utils.quoting import one_line

FILES = ["*.json", "*.safetensors", "*.model", "*.txt"]
"""Of a repository: configs, weights and tokenizers; no code and no pickles."""
OPTIONS = ("revision", "token", "cache_dir", "force_download", "local_files_only")
MEGABYTES = {
    "openai/clip-vit-base-patch32": 605,
    "openai/clip-vit-base-patch16": 599,
    "openai/clip-vit-large-patch14": 1711,
    "openai/clip-vit-large-patch14-336": 1712,
    "google-t5/t5-small": 242,
    "google-t5/t5-base": 892,
}
"""Sizes of the weights of repositories, 10^6 bytes, as far as they are known."""
SECONDS = 4.0
"""How long a server may take to answer, unless HF_HUB_ETAG_TIMEOUT allows more. The libraries that download
try again and again for minutes."""
FRESH = 30.0
"""Seconds for which an answer of a server, or none, is remembered."""
_known: dict[str, tuple[float, str]] = {}
_fetching = ContextVar("_fetching", default=True)


def is_offline() -> bool:
    """Whether this process was told to stay offline, by HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE."""
    from huggingface_hub import constants

    return constants.HF_HUB_OFFLINE


def patience() -> float:
    """Seconds that a server may take to answer."""
    try:
        return max(SECONDS, float(os.environ.get("HF_HUB_ETAG_TIMEOUT", "")))
    except ValueError:
        return SECONDS


def endpoint() -> str:
    """The address of the Hub, or of its mirror that HF_ENDPOINT names."""
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def unreachable(urls: Iterable[str]) -> dict[str, str]:
    """Which servers of some addresses do not answer, and why, within `patience()` for all of them together.

    An answer of any status will do. Nothing is asked where this machine was told to stay offline.

    Returns:
        By address: "HOST cannot be reached (reason)"; those that answer are left out.
    """
    wanted = {url: urlsplit(url)._replace(path="/", query="", fragment="").geturl() for url in urls}
    if is_offline():
        return dict.fromkeys(wanted, "this machine was told to stay offline (HF_HUB_OFFLINE)")
    now = time.monotonic()
    new = [root for root in set(wanted.values()) if now - _known.get(root, (-FRESH, ""))[0] >= FRESH]
    found = _ask_all(new)
    _known.update({root: (time.monotonic(), found[root]) for root in new})
    silent = {url: _known[root][1] for url, root in wanted.items()}
    return {url: f"{urlsplit(url).hostname} cannot be reached ({why})" for url, why in silent.items() if why}


def _ask_all(roots: list[str]) -> dict[str, str]:
    """Why each server does not answer; empty text for one that does."""
    found = dict.fromkeys(roots, f"no answer within {patience():g} seconds: HF_HUB_ETAG_TIMEOUT allows more")

    def ask(root: str) -> None:
        found[root] = _ask(root)

    # Looking up a name cannot be given a time limit, so each has a thread that may be left behind.
    threads = [threading.Thread(target=ask, args=(root,), daemon=True) for root in roots]
    end = time.monotonic() + patience()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return dict(found)


def _ask(root: str) -> str:
    request = urllib.request.Request(root, method="HEAD", headers={"User-Agent": "t2ikit"})
    try:
        with urllib.request.urlopen(request, timeout=patience()):
            return ""
    except (urllib.error.HTTPError, http.client.HTTPException):
        return ""
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        # The libraries bring certificates of their own, where this machine may have none.
        return "" if isinstance(reason, ssl.SSLError) else " ".join(str(reason or error).split())


def require(url: str) -> None:
    """Refuse at once what would be fetched from a server that does not answer.

    Raises:
        ConnectionError: in one sentence, why.
    """
    for why in unreachable([url]).values():
        raise ConnectionError(why)


@contextlib.contextmanager
def kept_offline(*configs: Any) -> Iterator[None]:
    """Keep huggingface_hub from asking the Hub, and libraries with the same switch in their configs."""
    from huggingface_hub import constants

    before = [(config, config.HF_HUB_OFFLINE) for config in (constants, *configs)]
    try:
        for config, _ in before:
            config.HF_HUB_OFFLINE = True
        yield
    finally:
        for config, value in before:
            config.HF_HUB_OFFLINE = value


@contextlib.contextmanager
def nothing_downloaded() -> Iterator[None]:
    """Refuse every model that is not on this machine, with the command that fetches it."""
    before = _fetching.set(False)
    try:
        yield
    finally:
        _fetching.reset(before)


@contextlib.contextmanager
def without_bars() -> Iterator[None]:
    """Keep transformers from drawing a bar while it reads weights that are here."""
    from transformers.utils import logging

    drawn = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if drawn:
            logging.enable_progress_bar()


def refusals() -> tuple[type[Exception], ...]:
    """The errors with which huggingface_hub says that something cannot be had or done."""
    from huggingface_hub.errors import HfHubHTTPError

    # The bases of HfHubHTTPError are the errors of whatever speaks HTTP there: requests, httpx, httpx2.
    # An upload by hf_xet fails with RuntimeError; an id that cannot be is a ValueError.
    return (OSError, RuntimeError, ValueError, *HfHubHTTPError.__bases__)


def reason(error: BaseException) -> str:
    """Why the Hub did not give something, as a clause of one line."""
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    if isinstance(error, HFValidationError):
        return "no id that the Hub could know"
    if isinstance(error, RepositoryNotFoundError):
        return "the Hub has none of that name, or it is private"
    said = one_line(error)
    return said if isinstance(error, ConnectionError) else f"{type(error).__name__}: {said}"


def cache() -> str:
    """Where huggingface_hub keeps repositories, for messages."""
    from huggingface_hub import constants

    return str(constants.HF_HUB_CACHE).replace(str(Path.home()), "~", 1)


def is_id(name: str) -> bool:
    """Whether a model's name is OWNER/NAME of the Hub, and not a folder that is here or was meant."""
    local = name.startswith((".", "~")) or Path(name).is_absolute() or name.count("/") != 1
    return not local and not Path(name).is_dir()


def kept(repository: str, revision: str | None = None) -> Path | None:
    """The folder of a repository that is on this machine, maybe not with all of its files; no request leaves.

    Args:
        repository: OWNER/NAME, or anything.
        revision: branch, tag or commit.

    Returns:
        None where its config.json is not here.
    """
    from huggingface_hub import try_to_load_from_cache

    try:
        found = try_to_load_from_cache(repository, "config.json", revision=revision)
    except ValueError:  # no id that the Hub would take
        return None
    return Path(found).parent if isinstance(found, str) else None


def has_weights(folder: Path) -> bool:
    """Whether a model's folder has weights in safetensors, every part of them where they are in parts."""
    for index in folder.glob("*.safetensors.index.json"):
        try:
            parts = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return False
        return all((folder / part).is_file() for part in parts)
    return any(folder.glob("*.safetensors"))


def download(repository: str, **options: Any) -> Path:
    """Fetch a repository of the Hub, or what is new in it; says so on standard error.

    Args:
        repository: OWNER/NAME.
        **options: of `huggingface_hub.snapshot_download`.

    Returns:
        The folder in which huggingface_hub keeps it.

    Raises:
        Exception: one of `refusals()`; a ConnectionError, soon, where the Hub does not answer.
    """
    from huggingface_hub.utils import validate_repo_id

    validate_repo_id(repository)  # before anything is asked
    size = f" ({MEGABYTES[repository]} MB)" if repository in MEGABYTES else ""
    if not _fetching.get():
        command = shlex.join(["hf", "download", repository])
        raise ConnectionError(f"it is not on this machine, and a forecast downloads nothing: {command}{size}")
    require(endpoint())
    log(f"downloading {repository}{size} to {cache()}")
    return snapshot(repository, **options)


def snapshot(repository: str, **options: Any) -> Path:
    """The same without a word or a look at the network first.

    Raises:
        Exception: one of `refusals()`.
    """
    import huggingface_hub

    with SCREEN.pause():
        return Path(huggingface_hub.snapshot_download(repository, **{"allow_patterns": FILES, **options}))


def folder_of(path: str | Path, options: dict[str, Any]) -> Path:
    """The folder itself, or that to which a repository OWNER/NAME is downloaded.

    Args:
        path: a folder or OWNER/NAME.
        options: of which those of huggingface_hub's `snapshot_download` are taken out.

    Raises:
        UserError: there is no such folder, and the Hub does not give it.
    """
    import huggingface_hub
    from huggingface_hub.utils import validate_repo_id

    given = {name: options.pop(name) for name in OPTIONS if name in options}
    if Path(path).is_dir():
        return Path(path)
    silent = ""
    try:
        validate_repo_id(str(path))
        if not given.get("local_files_only"):
            silent = unreachable([endpoint()]).get(endpoint(), "")
            given["local_files_only"] = bool(silent)
        return Path(huggingface_hub.snapshot_download(str(path), allow_patterns=FILES, **given))
    except refusals() as error:
        raise UserError(
            f"{path} is no folder, and cannot be had from the Hub",
            expected="a folder, or OWNER/NAME of a repository that can be reached",
            got=silent or reason(error),
            fix="check the name; a private repository needs a token (hf auth login)",
        ) from error
