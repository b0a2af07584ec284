"""The configuration layer: TOML in and out, `--set`, and checks whose errors name file and key."""

from __future__ import annotations

import copy
import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import tomlkit
from pydantic import ValidationError
from tomlkit.exceptions import TOMLKitError

from t2ikit.config.describe import model_at, option_at, options, phrase
from t2ikit.errors import UserError, UserErrors, command, did_you_mean
from t2ikit.recipes.settings import as_settings as as_settings
from t2ikit.registry.specs import Config
from t2ikit.utils.console import detail

C = TypeVar("C", bound=Config)


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
                    got=_show(node),
                    fix=f"set {'.'.join(keys[:depth])} itself, or another key",
                )
        node[keys[-1]] = value
    return result


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


def validate(config_class: type[C], table: Mapping[str, Any], *, where: str, key: str = "") -> C:
    """Check a table against a config class.

    Types are strict: text is not taken for a number, nor true for 1; whole numbers do for `float` and
    arrays for tuples.

    Args:
        config_class: what the table must fit.
        table: as TOML gives it.
        where: the file or option the table comes from, for messages.
        key: the dotted key of the table in there, for messages.

    Raises:
        UserErrors: everything that does not fit, each with its dotted key.
    """
    problems = Problems(where)
    config = problems.validate(config_class, table, key=key)
    if config is None:
        raise problems.gathered()
    return config


class Problems:
    """Gathers what is wrong with the tables of one file, so that it is reported together.

    Args:
        where: the file or recipe, for messages.
        settings: the `--set` strings already laid over it; messages about their keys name them.
    """

    def __init__(self, where: str, settings: Sequence[str] = ()) -> None:
        self.where = where
        self.errors: list[UserError] = []
        self._settings = {".".join(parse_setting(setting)[0]): setting for setting in settings}

    def validate(self, config_class: type[C], table: Mapping[str, Any], *, key: str = "") -> C | None:
        """The config that `table` stands for, or None after noting what is wrong with it."""
        try:
            return config_class.model_validate_json(_as_json(table), strict=True)
        except ValidationError as error:
            for mistake in _mistakes(config_class, table, error):
                self.report(_join(key, mistake.key), mistake.what, **mistake.details)
            return None

    def report(
        self, key: str, what: str, *, expected: object = None, got: object = None, fix: str | None = None
    ) -> None:
        """Note one mistake: `what` continues a sentence that begins with the key."""
        sentence = f"{self._source(key)}: {key} {what}".strip()
        self.errors.append(UserError(sentence, expected=expected, got=got, fix=fix or _where_to_look(key)))

    def add(self, error: UserError) -> None:
        """Note a mistake that names its place itself."""
        self.errors.append(error)

    def add_at(self, key: str, error: UserError) -> None:
        """Note a mistake found elsewhere as one at `key`."""
        self.errors.append(
            UserError(
                f"{self._source(key)}: {key}: {error.what}",
                expected=error.expected,
                got=error.got,
                fix=error.fix,
            )
        )

    def raise_if_any(self, what: str | None = None) -> None:
        """Raise all that was noted as one UserErrors, headed by `what`."""
        if self.errors:
            raise self.gathered(what)

    def gathered(self, what: str | None = None) -> UserErrors:
        """All that was noted, as one error."""
        return UserErrors(what or f"{self.where} cannot be used:", self.errors)

    def _source(self, key: str) -> str:
        """The `--set` that gave the key, or something in it, its value; else the file."""
        plain = key.split("[")[0]
        given = [
            name
            for name in self._settings
            if f"{plain}.".startswith(f"{name}.") or f"{name}.".startswith(f"{plain}.")
        ]
        return f"--set {self._settings[given[-1]]}" if given else self.where


def _where_to_look(key: str) -> str:
    section = key.split(".")[0]
    name = section if section in ("train", "optimizer") else "NAME"
    return f"correct it; `{command('t2ikit', 'options', name)}` shows what can be set"


def _as_json(table: Mapping[str, Any]) -> str:
    # JSON mode is pydantic's one mode that is strict and yet takes arrays for tuples.
    return json.dumps(table, default=_json_default)


def _json_default(value: object) -> str:
    if isinstance(value, (datetime.date, datetime.time, Path)):
        return str(value)
    raise TypeError(f"TOML has no {type(value).__name__}")


@dataclass
class _Mistake:
    """One mistake in plain words, from pydantic's account of it."""

    key: str
    what: str
    details: dict[str, Any]


def _mistakes(config_class: type[Config], table: Mapping[str, Any], error: ValidationError) -> list[_Mistake]:
    found: dict[tuple[str, str], _Mistake] = {}
    for line in error.errors(include_url=False, include_context=False):
        mistake = _mistake(config_class, table, line)
        found.setdefault((mistake.key, mistake.what), mistake)  # a union gives one line a member
    return list(found.values())


def _mistake(config_class: type[Config], table: Mapping[str, Any], line: Mapping[str, Any]) -> _Mistake:
    location = _real_location(table, line["loc"], line["type"])
    key = _dotted(location)
    if line["type"] == "extra_forbidden":
        model = model_at(config_class, location[:-1])
        fix = did_you_mean(str(location[-1]), model.model_fields) if model else None
        return _Mistake(key, "is not a known option", {"got": location[-1], "fix": fix})
    if line["type"] == "missing":
        return _Mistake(key, "is missing", {"expected": phrase(*option_at(config_class, location))})
    if line["type"] in ("value_error", "assertion_error"):
        why = line["msg"].split(", ", 1)[-1]
        shown = None if isinstance(line["input"], Mapping) else _show(line["input"])
        return _Mistake(key, f"does not fit: {why}", {"got": shown})
    annotation, metadata = option_at(config_class, location)
    wants_text = annotation is str and isinstance(line["input"], (bool, int, float))
    return _Mistake(
        key,
        "has a value that does not fit",
        {
            "expected": phrase(annotation, metadata),
            "got": _show(line["input"]),
            "fix": "put the value in quotes" if wants_text else None,
        },
    )


def _real_location(table: Any, loc: Sequence[int | str], kind: str) -> list[int | str]:
    """The part of pydantic's location that is keys of the table: it appends the members of unions."""
    location: list[int | str] = []
    for step in loc:
        has = isinstance(table, Mapping) and step in table
        at = isinstance(table, (list, tuple)) and isinstance(step, int) and step < len(table)
        if has or at:
            table = table[step]
            location.append(step)
        elif kind == "missing" and step == loc[-1]:
            location.append(step)
    return location


def _dotted(location: Sequence[int | str]) -> str:
    key = ""
    for step in location:
        key = f"{key}[{step}]" if isinstance(step, int) else _join(key, step)
    return key


def _join(*keys: str) -> str:
    return ".".join(key for key in keys if key)


def _show(value: Any) -> str:
    """A value as TOML writes it, cut to 60 characters."""
    if isinstance(value, Mapping):
        return "a table"
    text = "nothing" if value is None else tomlkit.item(value).as_string()
    return text if len(text) <= 60 else text[:57] + "..."


@dataclass(frozen=True)
class Option:
    """One option of a config class, in words.

    Attributes:
        key: dotted.
        type: what it takes.
        default: as TOML writes it.
        help: what it does, with its unit.
        value: of a recipe, as TOML writes it; empty where it is the default, or there is no recipe.
    """

    key: str
    type: str
    default: str
    help: str
    value: str = ""


def describe(config_class: type[Config]) -> list[Option]:
    """What a config class can be given, nested classes included, in order of definition."""
    return [
        Option(key, phrase(annotation, metadata), _default(default), " ".join((text or "").split()))
        for key, annotation, metadata, default, text in options(config_class)
    ]


def _default(default: Any) -> str:
    return "required" if default is ... else shown(default)


def shown(value: Any) -> str:
    """A value as TOML writes it, cut to 60 characters; "none" for None."""
    return "none" if value is None else _show(_plain(value))
