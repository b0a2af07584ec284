"""TOML in and out, and the `KEY=VALUE` strings of `--set`."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from t2ikit.errors import UserError, UserErrors, each_of, raise_together
from t2ikit.utils.console import detail


def load_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        UserError: there is no such file, it is a folder, not UTF-8, or not TOML (with line and column).
    """
    detail(f"reading {path}")
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(
            f"{path} cannot be read",
            expected="a TOML file",
            got=_reason(error, path),
            fix="check the path; `t2ikit recipes` lists recipes by name",
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8 text",
            expected="a TOML file in UTF-8",
            got=f"byte 0x{error.object[error.start]:02x} at offset {error.start}",
            fix="save the file as UTF-8",
        ) from error
    try:
        table: dict[str, Any] = tomlkit.parse(text).unwrap()
    except (TOMLKitError, ValueError, RecursionError) as error:
        got = "brackets nested too deep" if isinstance(error, RecursionError) else error
        raise UserError(
            f"{path} is not valid TOML", expected="a TOML file", got=got, fix="correct the line it names"
        ) from error
    return table


def _reason(error: OSError, path: Path) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    return "a folder" if Path(path).is_dir() else str(error.strerror or error)


def parse_setting(text: str) -> tuple[tuple[str, ...], Any]:
    """Split `a.b.c=1e-3` into keys and value.

    The value is read as TOML; a bare word is text.

    Raises:
        UserError: there is no `=`, no key, no value, or a bracket or quote that never closes.
    """
    key, equals, value = (part.strip() for part in text.partition("="))
    if not equals:
        raise _bad_setting(text, "no =")
    if not value:
        raise _bad_setting(text, "no value", fix=f"for an empty text write {key}='\"\"'")
    return _parse_key(key, text), _parse_value(value, text)


def _parse_key(key: str, setting: str) -> tuple[str, ...]:
    try:
        node: Any = tomlkit.parse(f"{key} = 0").unwrap()
    except (TOMLKitError, ValueError) as error:
        raise _bad_setting(setting, f"the key {key!r}") from error
    keys = []
    while isinstance(node, dict) and len(node) == 1:
        name, node = next(iter(node.items()))
        keys.append(name)
    if node != 0:
        raise _bad_setting(setting, f"the key {key!r}")
    return tuple(keys)


def _parse_value(text: str, setting: str) -> Any:
    try:
        table = tomlkit.parse(f"value = {text}").unwrap()
    except (TOMLKitError, ValueError, RecursionError) as error:
        if text[0] in "[{\"'":
            raise _bad_setting(setting, f"a value that is not TOML: {error}") from error
        return text
    return table["value"] if len(table) == 1 else text


def _bad_setting(text: str, got: str, fix: str | None = None) -> UserError:
    return UserError(
        f"--set {text} cannot be read",
        expected="KEY=VALUE with a dotted key, such as train.steps=2000",
        got=got,
        fix=fix or "write the key, = and a value, in quotes where the shell would split it",
    )


def apply_settings(table: Mapping[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """A deep copy of `table` with `KEY=VALUE` strings laid over it, in order.

    Raises:
        UserError: a setting cannot be read, or its key goes through a value that is no table.
    """
    result = copy.deepcopy(dict(table))
    for setting in settings:
        keys, value = parse_setting(setting)
        node = result
        for depth, key in enumerate(keys[:-1], 1):
            node = node.setdefault(key, {})
            if not isinstance(node, dict):
                raise UserError(
                    f"--set {setting}: {'.'.join(keys[:depth])} is not a table",
                    expected="a table, which can hold further keys",
                    got=shown_value(node),
                    fix=f"set {'.'.join(keys[:depth])} itself, or another key",
                )
        node[keys[-1]] = value
    return result


@contextmanager
def readable(settings: Sequence[str]) -> Iterator[list[str]]:
    """The settings that can be read, to be checked meanwhile.

    Raises:
        UserError: of each that cannot be read, with whatever is found wrong meanwhile.
    """
    wrong: list[UserError] = []
    good = []
    for setting in settings:
        try:
            parse_setting(setting)
            good.append(setting)
        except UserError as error:
            wrong.append(error)
    try:
        yield good
    except UserError as error:
        if not wrong:
            raise
        raise UserErrors("the settings cannot be used:", [*wrong, *each_of(error)]) from error
    raise_together(wrong, "the settings cannot be used:")


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid on `base`: tables are merged at every depth, everything else is replaced."""
    result = copy.deepcopy(dict(base))
    for key, value in over.items():
        old = result.get(key)
        both = isinstance(old, dict) and isinstance(value, Mapping)
        result[key] = merge(old, value) if both else copy.deepcopy(value)  # type: ignore[arg-type]
    return result


def dump_toml(table: Mapping[str, Any]) -> str:
    """Write a table as TOML that reads back equal, types included.

    Keys with the value None are left out, tuples become arrays, paths text.
    """
    return tomlkit.dumps(_plain(table))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, Path) else value


def shown_value(value: Any) -> str:
    """A value as TOML writes it, cut to 60 characters."""
    if isinstance(value, Mapping):
        return "a table"
    text = "nothing" if value is None else tomlkit.item(value).as_string()
    return text if len(text) <= 60 else text[:57] + "..."


def shown(value: Any) -> str:
    """A value as TOML writes it, cut to 60 characters; "none" for None."""
    return "none" if value is None else shown_value(_plain(value))
