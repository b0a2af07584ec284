"""Arguments of the public functions, checked against their annotations: what a user of Python gave."""

from __future__ import annotations

import ast
import functools
import inspect
import numbers
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from t2ikit.errors import UserError, empty, option
from t2ikit.utils.quoting import shortened

F = TypeVar("F", bound=Callable[..., Any])

ALIASES = {
    "Plugins": "str | Path | Sequence[str | Path]",
    "StoredType": 'Literal["float32", "float16", "bfloat16"]',
}
"""Annotations that stand for others."""
LEAST = {"n": 1}
"""The smallest value of arguments that count something."""
NEEDS_ONE = ("guidance",)
"""Arguments whose list must not be empty."""
KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "int": ("a whole number", lambda value: _is_a(value, numbers.Integral)),
    "float": ("a number", lambda value: hasattr(value, "__float__") and not isinstance(value, bool)),
    "bool": ("True or False", lambda value: isinstance(value, bool)),
    "str": ("text", lambda value: isinstance(value, str)),
    "Path": ("a path", lambda value: isinstance(value, Path)),
    "Run": ("a run", lambda value: isinstance(getattr(value, "path", None), Path)),
    "None": ("None", lambda value: value is None),
    "Callable": ("a function", callable),
    "Mapping": ("a mapping", lambda value: isinstance(value, Mapping)),
}
"""What an annotation's name is called, and whether a value is one."""


def checked(function: F) -> F:
    """The function, which refuses arguments that are not what its annotations say.

    Its annotations must be text (`from __future__ import annotations`); what they name and is not known here
    takes anything.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*given: Any, **named: Any) -> Any:
        try:
            bound = signature.bind(*given, **named)
        except TypeError:
            return function(*given, **named)  # which says it
        for name, value in bound.arguments.items():
            _check(function.__name__, name, str(signature.parameters[name].annotation), value)
        return function(*given, **named)

    return call  # type: ignore[return-value]


def _check(function: str, name: str, annotation: str, value: Any) -> None:
    kinds = _alternatives(annotation)
    paths = "Path" in kinds
    if paths and isinstance(value, str) and not value.strip():
        raise empty(option(name))
    too_small = name in LEAST and _is_a(value, numbers.Integral) and value < LEAST[name]
    none_given = name in NEEDS_ONE and isinstance(value, (list, tuple)) and not value
    if any(_fits(value, kind) for kind in kinds) and not too_small and not none_given:
        return
    expected = " or ".join(map(_words, kinds))
    least = f", at least {LEAST[name]}" if name in LEAST else ""
    raise UserError(
        f"{option(name)}: this is not what it takes",
        expected=expected + least + (", at least one" if none_given else ""),
        got=f"{shortened(repr(value), 80)}, of the type {type(value).__name__}",
        fix=f"give {option(name)} as help(t2ikit.{function}) says",
    )


def _alternatives(annotation: str) -> list[str]:
    """The parts of a union, without what is in brackets taken apart."""
    parts = re.findall(r"(?:[^|\[\]]|\[(?:[^\[\]]|\[[^\]]*\])*\])+", annotation)
    return [kind for part in parts for kind in _expanded(part.strip())]


def _expanded(kind: str) -> list[str]:
    return _alternatives(ALIASES[kind]) if kind in ALIASES else [kind]


def _fits(value: Any, kind: str) -> bool:
    name, _, inside = kind.partition("[")
    if name == "Sequence":
        if isinstance(value, (str, bytes, Mapping)) or not hasattr(value, "__iter__"):
            return False
        if not hasattr(value, "__len__"):
            return True  # an iterator, which can be read once
        inner = _alternatives(inside.removesuffix("]"))
        return all(any(_fits(one, kind) for kind in inner) for one in value)
    if name == "Literal":
        return isinstance(value, str) and value in _choices(inside)
    return name not in KINDS or KINDS[name][1](value)


def _words(kind: str) -> str:
    name, _, inside = kind.partition("[")
    if name == "Sequence":
        return "a list of these: " + " or ".join(map(_words, _alternatives(inside.removesuffix("]"))))
    if name == "Literal":
        return " or ".join(map(repr, _choices(inside)))
    return KINDS[name][0] if name in KINDS else name


def _choices(inside: str) -> list[str]:
    """The words of a Literal, from what stands in its brackets."""
    return list(ast.literal_eval(f"[{inside}"))


def _is_a(value: Any, kind: type) -> bool:
    """Whether it is such a number; True and False are none."""
    return isinstance(value, kind) and not isinstance(value, bool)
