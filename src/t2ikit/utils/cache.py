"""Where t2ikit keeps what it would be slow to make again. Nothing there is needed to open a run."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path

VARIABLE = "T2IKIT_CACHE"


def cache_folder(chosen: str | None = None) -> Path:
    """The folder a user chose, or $T2IKIT_CACHE, or `t2ikit` in the system's folder for caches."""
    named = chosen or os.environ.get(VARIABLE)
    return Path(named).expanduser() if named else user_cache_path("t2ikit", appauthor=False)
