"""Packages that only some parts need, imported when they are."""

from __future__ import annotations

import importlib
from types import ModuleType

from t2ikit.errors import UserError


def import_extra(module: str, extra: str, what: str) -> ModuleType:
    """Import a module that `pip install t2ikit[extra]` brings.

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
            fix=f"pip install 't2ikit[{extra}]'",
        ) from error
