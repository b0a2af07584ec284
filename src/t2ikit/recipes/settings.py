"""Settings given from Python, as the `KEY=VALUE` strings that `--set` takes."""

from __future__ import annotations

import numbers
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import tomlkit

from t2ikit.errors import UserError

Settings: TypeAlias = Mapping[str, Any] | Sequence[str] | str | None
"""What every public function takes as `set`."""
Plugins: TypeAlias = str | Path | Sequence[str | Path]
"""What every public function takes as `plugins`: a file, or several."""
BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_./+-]*")
KEYWORDS = ("true", "false", "inf", "nan")
"""Bare words that TOML does not read as text."""


def as_settings(given: Settings) -> list[str]:
    """What was given as `set`, as the `KEY=VALUE` strings of the command line.

    Args:
        given: a mapping of dotted keys, or of tables within tables, to values: `{"train.steps": 500}` and
            `{"train": {"steps": 500}}` are the same. Or strings as after `--set`, or one of them. A value of
            None sets nothing.

    Returns:
        Strings that `parse_setting` reads back to the same values (a tuple as an array, a path as text).

    Raises:
        UserError: a key that is no text, or a value that a recipe cannot hold.
    """
    if given is None:
        return []
    if isinstance(given, str):
        return [given]
    if isinstance(given, Mapping):
        return _flatten(given, "")
    settings = list(given) if isinstance(given, Iterable) else [given]
    if not all(isinstance(setting, str) for setting in settings):
        raise _unusable(settings)
    return settings


def _flatten(table: Mapping[str, Any], prefix: str) -> list[str]:
    settings = []
    for key, value in table.items():
        if not isinstance(key, str):
            raise _unusable(key)
        if isinstance(value, Mapping) and value:
            settings += _flatten(value, f"{prefix}{key}.")
        elif value is not None:
            settings.append(f"{prefix}{key}={_as_toml(value, prefix + key)}")
    return settings


def _as_toml(value: Any, key: str) -> str:
    """A value as TOML writes it; a plain word without quotes, as one types it."""
    if isinstance(value, (str, Path)):
        text = str(value)
        bare = BARE.fullmatch(text) and text not in KEYWORDS
        return text if bare else tomlkit.string(text).as_string()
    return _inner(value, key)


def _inner(value: Any, key: str) -> str:
    if isinstance(value, (str, Path)):
        return tomlkit.string(str(value)).as_string()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, numbers.Integral):
        return str(int(value))
    if isinstance(value, numbers.Real):
        return repr(float(value))
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_inner(one, key) for one in value)}]"
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        pairs = (f"{tomlkit.string(name).as_string()} = {_inner(one, key)}" for name, one in value.items())
        return f"{{{', '.join(pairs)}}}"
    raise _unusable(value, key)


def _unusable(got: object, key: str = "") -> UserError:
    return UserError(
        f"set: {key} cannot be set to this" if key else "set: these are no settings",
        expected="text, a number, true or false, or a list of them"
        if key
        else 'a mapping such as {"train.steps": 500}, or strings such as "train.steps=500"',
        got=f"{got!r}, of the type {type(got).__name__}",
        fix="see `t2ikit options NAME` for the options and their types" if key else None,
    )
