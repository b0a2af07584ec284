"""Hides warnings of other libraries, which users can do nothing about."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from t2ikit.errors import T2ikitWarning
from t2ikit.utils.console import Verbosity, verbosity, wants_bars, warn

ERRORS_ONLY = {
    "TRANSFORMERS_VERBOSITY": "error",
    "DIFFUSERS_VERBOSITY": "error",
    "DATASETS_VERBOSITY": "error",
    "HF_HUB_VERBOSITY": "error",
    "TORCH_LOGS": "-all",
    "TOKENIZERS_PARALLELISM": "false",  # it warns where processes are forked and this is not set
}
NO_BARS = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Hide warnings of libraries while a command runs; show those of t2ikit and of plugins.

    A library's own variable, `python -W` and PYTHONWARNINGS have the last word, and `--verbose` shows what
    Python warns of as it comes.
    """
    before = {name: os.environ.get(name) for name in (*ERRORS_ONLY, *NO_BARS)}
    shown = warnings.showwarning
    _set_defaults(ERRORS_ONLY)
    if not wants_bars():
        hide_bars()

    def show(message: Any, category: Any, *where: Any, **more: Any) -> None:
        if issubclass(category, T2ikitWarning):
            warn(str(message))
        elif verbosity() == Verbosity.verbose or _is_plugins(sys._getframe(2)):
            shown(message, category, *where, **more)

    if not sys.warnoptions:
        warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = shown
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def hide_bars() -> None:
    """Keep libraries from drawing bars of their own: with `--quiet`, and where a bar is many lines."""
    _set_defaults(NO_BARS)


def _set_defaults(variables: dict[str, str]) -> None:
    for name, value in variables.items():
        os.environ.setdefault(name, value)


def _is_plugins(frame: Any) -> bool:
    """Whether a plugin's code runs in a frame: neither ours, nor a library's.

    Our own warnings are `T2ikitWarning`: what else comes from our code is of a library's compiled function.
    """
    import sysconfig
    from importlib.metadata import entry_points

    package = frame.f_globals.get("__name__", "").partition(".")[0]
    points = [point for point in entry_points(group="t2ikit") if point.module.partition(".")[0] == package]
    if points:
        return all(point.dist is None or point.dist.name != "t2ikit" for point in points)
    path = Path(frame.f_code.co_filename)
    library = any(folder in path.parts for folder in ("site-packages", "dist-packages"))
    standard = any(path.is_relative_to(sysconfig.get_path(kind)) for kind in ("stdlib", "platstdlib"))
    return package != "t2ikit" and not library and not standard
