"""Names that moved into t2ikit, at their old places: each says once where it is now."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import t2ikit


def moved(module: str, names: Mapping[str, str], depth: int = 2) -> Callable[[str], Any]:
    """A module's `__getattr__` for old names.

    Args:
        module: its `__name__`.
        names: old name to the one in t2ikit.
        depth: calls between who asks for the name and the warning.
    """

    def find(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warnings.warn(f"{module}.{name} is now t2ikit.{names[name]}", DeprecationWarning, stacklevel=depth)
        found = getattr(t2ikit, names[name])
        setattr(sys.modules[module], name, found)  # found there from now on: warned of once
        return found

    return find
