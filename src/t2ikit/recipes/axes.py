"""Values to try, as `KEY=A,B` strings or as a mapping whose lists are values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from t2ikit.config.toml import parse_setting
from t2ikit.errors import UserError, option
from t2ikit.recipes.settings import as_settings

Axes = dict[str, list[str]]
"""Key to its values, as they were typed."""
GivenAxes = Mapping[str, Any] | Sequence[str] | str
_VALUE = re.compile(r'(?:\[[^\]]*\]|"[^"]*"|[^,\["])+')


@dataclass(frozen=True)
class AxesOption:
    """An option that takes values to try.

    Attributes:
        name: of the argument.
        example: a command's.
        most: combinations.
        prefix: of all keys, which may be left out.
    """

    name: str
    example: str
    most: int
    prefix: str = ""

    def read(self, given: GivenAxes) -> Axes:
        """Keys with the values to try.

        Raises:
            UserError: a key without values, a key or a value twice, or what is no setting.
        """
        axes: Axes = {}
        if isinstance(given, Mapping):
            for key, values in given.items():
                several = list(values) if isinstance(values, (list, tuple, range)) else [values]
                settings = [setting for value in several for setting in as_settings({key: value})]
                self._add(axes, key, [setting.partition("=")[2] for setting in settings], f"{key}={values!r}")
            return axes
        for setting in [given] if isinstance(given, str) else given:
            key, _, values = setting.partition("=")
            found = [value.strip() for value in _VALUE.findall(values)]
            self._add(axes, key.strip(), [value for value in found if value], setting)
        return axes

    def bad(self, given: str) -> UserError:
        """The error of what is no list of values."""
        return UserError(
            f"{option(self.name)} {given}: this is no list of values to try",
            expected="KEY=VALUE,VALUE,... with different values, each key once",
            got=given,
            fix=f"for example {self.example}",
        )

    def check_count(self, axes: Axes, count: int) -> None:
        """Refuse more combinations than `most`.

        Raises:
            UserError: there are more.
        """
        if count > self.most:
            raise UserError(
                f"{option(self.name)}: {count} combinations are too many",
                expected=f"at most {self.most}",
                got=" x ".join(str(len(values)) for values in axes.values()),
                fix="give fewer values",
            )

    def _add(self, axes: Axes, key: str, values: list[str], given: str) -> None:
        key = key.removeprefix(self.prefix)
        if not key or not values or key in axes or len(set(values)) < len(values):
            raise self.bad(given)
        for value in values:
            parse_setting(f"{self.prefix}{key}={value}")
        axes[key] = values
