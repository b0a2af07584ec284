"""Repositories of the Hugging Face Hub: what they may answer, and the folder of a model kept there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from t2ikit.errors import UserError
from t2ikit.offline import why_unreachable

FILES = ["*.json", "*.safetensors", "*.model", "*.txt"]
"""Of a repository: configs, weights and tokenizers; no code and no pickles."""
OPTIONS = ("revision", "token", "cache_dir", "force_download", "local_files_only")


def refusals() -> tuple[type[BaseException], ...]:
    """The errors with which huggingface_hub says that something cannot be had or done."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    # The bases of HfHubHTTPError are the errors of whatever speaks HTTP there: requests, httpx, httpx2.
    # An upload by hf_xet fails with RuntimeError.
    return (OSError, RuntimeError, HFValidationError, *HfHubHTTPError.__bases__)


def folder_of(path: str | Path, options: dict[str, Any]) -> Path:
    """The folder itself, or that to which a repository OWNER/NAME is downloaded.

    Args:
        path: a folder or OWNER/NAME.
        options: of which those of huggingface_hub's `snapshot_download` are taken out.

    Raises:
        UserError: there is no such folder, and the Hub does not give it.
    """
    import huggingface_hub

    given = {name: options.pop(name) for name in OPTIONS if name in options}
    if Path(path).is_dir():
        return Path(path)
    try:
        return Path(huggingface_hub.snapshot_download(str(path), allow_patterns=FILES, **given))
    except refusals() as error:
        raise UserError(
            f"{path} is no folder, and cannot be had from the Hub",
            expected="a folder, or OWNER/NAME of a repository that can be reached",
            got=f"{why_unreachable('such repository')}: " + " ".join(str(error).split())[:200],
            fix="check the name; a private repository needs a token (hf auth login)",
        ) from error
