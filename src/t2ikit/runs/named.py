"""From what a run is called to its folder: one that is here, an export on the Hub, a model of the package.

Starts without torch. Whatever a folder names, no code of it is run.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from t2ikit.errors import UserError
from t2ikit.utils import hub

PACKAGED = Path(__file__).parents[1] / "packaged"
"""Holds a folder for each trained model that comes with t2ikit."""
HUB = "hf:"
RECORD = ("recipe.toml", "run.json")
"""The files that make a folder a run's."""


def find_run(name: str | Path) -> tuple[Path, str | None]:
    """The folder of a run.

    What is here wins; then `hf:OWNER/NAME` or `hf:OWNER/NAME@REVISION`, which is downloaded; then the models
    that come with t2ikit.

    Args:
        name: a path, or one of these names.

    Returns:
        The folder, which need not exist where none of that name is known, and the name where the folder is
        not the user's: nothing is written into it.

    Raises:
        UserError: the Hub does not give it, or what it gives is no export.
    """
    path, called = Path(name).expanduser(), Path(name).as_posix()
    if path.exists():
        return path, None
    if called.startswith(HUB):
        return fetch_run(called), called
    if called in packaged_names():
        return PACKAGED / called, called
    return path, None


def packaged_names() -> list[str]:
    """The trained models that come with t2ikit."""
    return sorted(path.parent.name for path in PACKAGED.glob("*/recipe.toml"))


def accepted() -> str:
    """What stands for a run besides its folder, for messages: "an export, hf:OWNER/NAME or creatures"."""
    names = ["an export", "hf:OWNER/NAME", *packaged_names()]
    return ", ".join(names[:-1]) + f" or {names[-1]}"


def fetch_run(name: str) -> Path:
    """The folder that an export on the Hub is downloaded to, or was before where the Hub cannot be asked.

    Only JSON, safetensors, a tokenizer's files and recipe.toml are fetched, and nothing but two small files
    of what is no export.

    Args:
        name: hf:OWNER/NAME or hf:OWNER/NAME@REVISION.

    Raises:
        UserError: it cannot be had, or is no export.
    """
    repository, _, revision = name.removeprefix(HUB).partition("@")
    files = {"allow_patterns": [*RECORD, *hub.FILES], "revision": revision or None}
    try:
        folder = hub.download(repository, **{**files, "allow_patterns": list(RECORD)})
        if all((folder / file).is_file() for file in RECORD):
            return hub.snapshot(repository, **files)
    except hub.refusals() as error:
        if isinstance(error, ConnectionError):
            with contextlib.suppress(*hub.refusals()):
                return hub.snapshot(repository, **files, local_files_only=True)
        raise UserError(
            f"{name} cannot be had from the Hub",
            expected="OWNER/NAME of an export there, or of one that was fetched before",
            got=hub.reason(error),
            fix="check the name; a private repository needs a token (hf auth login)",
        ) from error
    raise UserError(
        f"{name} is not an export of t2ikit",
        expected="a repository with recipe.toml and run.json",
        got="a repository without them",
        fix="upload one: `t2ikit export RUN --format diffusers --out DIR --push-to OWNER/NAME`",
    )
