"""Tables checked against config classes, with errors that name file and key."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from t2ikit.config.base import Config
from t2ikit.config.describe import model_at, option_at, phrase
from t2ikit.config.toml import parse_setting, shown_value
from t2ikit.errors import UserError, UserErrors, command, did_you_mean, each_of

C = TypeVar("C", bound=Config)
TABLES = (
    *("train", "generator", "sampler", "text", "data"),
    *("critics", "losses", "metrics", "optimizer"),
)
"""Of a recipe, as `t2ikit options` takes their names."""


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
        """Note what was found elsewhere as mistakes at `key`."""
        self.errors += [
            UserError(
                f"{self._source(key)}: {key}: {one.what}", expected=one.expected, got=one.got, fix=one.fix
            )
            for one in each_of(error)
        ]

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
    name = section if section in TABLES else "NAME"
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
        shown = None if isinstance(line["input"], Mapping) else shown_value(line["input"])
        return _Mistake(key, f"does not fit: {why}", {"got": shown})
    annotation, metadata = option_at(config_class, location)
    wants_text = annotation is str and isinstance(line["input"], (bool, int, float))
    return _Mistake(
        key,
        "has a value that does not fit",
        {
            "expected": phrase(annotation, metadata),
            "got": shown_value(line["input"]),
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
