"""Commands that are printed to be copied: quoted, with every plugin file that they need. Imports no torch."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from t2ikit.errors import as_word

if TYPE_CHECKING:
    from t2ikit.registry.registry import Registry
    from t2ikit.runs.run import Run


def resume_words(run: Run) -> list[str]:
    """The words of the command that goes on with a run."""
    names = [plugin["name"] for plugin in run.info["plugins"]]
    return ["t2ikit", "train", "--resume", as_word(run.path), *plugin_words(names, run.registry)]


def resume_command(run: Run) -> str:
    """That command in backquotes, for a message."""
    return f"`{shlex.join(resume_words(run))}`"


def sample_command(run: Run) -> str:
    """The command that samples from a run; BASE stands for another run where it upscales."""
    names = [plugin["name"] for plugin in run.info["plugins"] if run.samples_with(plugin["name"])]
    base = ["BASE", "--upscale"] if run.info.get("upscales") else []
    words = ["t2ikit", "sample", *base, as_word(run.path), *plugin_words(names, run.registry)]
    return f'{shlex.join(words)} "a prompt"'


def plugin_words(names: Iterable[str], registry: Registry | None) -> list[str]:
    """`--plugin FILE` for each of the plugins that is a file."""
    found = (registry.plugins.get(name) for name in names) if registry else ()
    return [
        word
        for plugin in found
        if plugin is not None and plugin.path
        for word in ("--plugin", _short(plugin.path))
    ]


def _short(path: Path) -> str:
    """A path from the working folder, if it lies below it."""
    relative = os.path.relpath(path) if path.anchor == Path.cwd().anchor else str(path)
    return str(path) if relative.startswith("..") else f".{os.sep}{relative}"
