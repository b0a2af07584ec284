"""Keys of recipes that have a new name: recipes, settings and run folders with the old ones still open."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from t2ikit.errors import T2ikitWarning, UserError

RENAMED = {
    "train.validation_pictures": "train.validation_images",
    "train.workers": "train.num_workers",
    "train.keep": "train.keep_last",
    "optimizer.*.clip_norm": "optimizer.*.max_grad_norm",
    "optimizer.*.warmup": "optimizer.*.warmup_steps",
}
"""Old key to new key; `*` is the name of a player."""


def new_key(key: str) -> str:
    """The dotted key that is meant: the new one for an old one, any other as it is."""
    for old, new in RENAMED.items():
        if fnmatchcase(key, old):
            return f"{key.rpartition('.')[0]}.{new.rpartition('.')[2]}"
    return key


def with_new_keys(
    table: Mapping[str, Any], where: str, *, warn: bool = False, above: str = ""
) -> dict[str, Any]:
    """A recipe's tables with the new name of every old key, in the same order.

    Args:
        table: the tables as they were read.
        where: the file, for messages.
        warn: warn of each old key, with a `T2ikitWarning`.
        above: the dotted key of the table, with a dot at its end; empty for the whole recipe.

    Raises:
        UserError: an old key and its new name are both there.
    """
    result = {}
    for name, value in table.items():
        key = f"{above}{name}"
        new = new_key(key)
        if new != key:
            name = new.rpartition(".")[2]
            _check(where, key, new, both=name in table, warn=warn)
        result[name] = (
            with_new_keys(value, where, warn=warn, above=f"{key}.") if isinstance(value, Mapping) else value
        )
    return result


def settings_with_new_keys(settings: Sequence[str]) -> list[str]:
    """`KEY=VALUE` settings with the new name of every old key; a `T2ikitWarning` names it.

    Raises:
        UserError: an old key and its new name are both set.
    """
    given = {setting.partition("=")[0].strip() for setting in settings}
    result = []
    for setting in settings:
        key, equals, value = setting.partition("=")
        new = new_key(key.strip())
        if new != key.strip():
            _check("--set", key.strip(), new, both=new in given, warn=True)
            setting = f"{new}{equals}{value}"
        result.append(setting)
    return result


def _check(where: str, old: str, new: str, *, both: bool, warn: bool) -> None:
    if both:
        raise UserError(
            f"{where}: {old} and {new} are the same setting, and both are given",
            expected=f"{new} alone; {old} is its old name",
            got=f"{old} and {new}",
            fix=f"remove {old}",
        )
    if warn:
        warnings.warn(f"{where}: {old} is now {new}; the old name still works", T2ikitWarning, stacklevel=2)
