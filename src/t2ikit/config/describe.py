"""Config classes in plain words: what an option takes, its bounds, and where it stands."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from t2ikit.config.base import Config
from t2ikit.config.toml import shown

_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
    Any: "any value",
}
_BOUNDS = {
    "gt": "greater than {}",
    "ge": "at least {}",
    "lt": "less than {}",
    "le": "at most {}",
    "multiple_of": "a multiple of {}",
    "min_length": "of length at least {}",
    "max_length": "of length at most {}",
    "pattern": "that matches {}",
}


def phrase(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """What a value must be, as a noun with its bounds: "a number greater than 0"."""
    annotation, metadata = _bare(annotation, metadata)
    bounds = [
        text.format(_number(getattr(item, name)))
        for item in metadata
        for name, text in _BOUNDS.items()
        if getattr(item, name, None) is not None
    ]
    # An array's bounds are on its length, so they come before what it is made of.
    noun, comma, members = _noun(annotation).partition(", each ")
    return " ".join([noun, *([" and ".join(bounds)] if bounds else [])]) + comma + members


def _noun(annotation: Any) -> str:
    origin, args = get_origin(annotation), get_args(annotation)
    if annotation in _WORDS:
        return _WORDS[annotation]
    if origin is Literal:
        return "one of " + ", ".join(f'"{value}"' if isinstance(value, str) else str(value) for value in args)
    if _is_union(origin):
        return " or ".join(phrase(arg) for arg in args if arg is not type(None))
    if _is_array(origin) or annotation in (list, tuple, set, frozenset):
        return _array(origin, args)
    if origin is dict or annotation is dict or _is_config(annotation):
        return "a table"
    return getattr(annotation, "__name__", str(annotation))


def _array(origin: Any, args: tuple[Any, ...]) -> str:
    if not args:
        return "an array"
    if origin is tuple and args[-1] is not Ellipsis:
        same = len({str(arg) for arg in args}) == 1
        inner = f"each {phrase(args[0])}" if same else ", ".join(phrase(arg) for arg in args)
        return f"an array of {len(args)} values, {inner}"
    return f"an array, each {phrase(args[0])}"


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _bare(annotation: Any, metadata: Sequence[Any]) -> tuple[Any, list[Any]]:
    """Take the type and the bounds out of an Annotated; a FieldInfo among them holds more."""
    if get_origin(annotation) is Annotated:
        annotation, *more = get_args(annotation)
        metadata = [*metadata, *more]
    flat: list[Any] = []
    for item in metadata:
        flat.extend(item.metadata if isinstance(item, FieldInfo) else [item])
    return annotation, flat


def _is_union(origin: Any) -> bool:
    return origin is Union or origin is types.UnionType


def _is_array(origin: Any) -> bool:
    return isinstance(origin, type) and issubclass(origin, (list, tuple, set, frozenset, Sequence))


def _is_config(annotation: Any) -> bool:
    # Python 3.10 takes tuple[int] for a type, which issubclass then refuses.
    plain = isinstance(annotation, type) and get_origin(annotation) is None
    return plain and issubclass(annotation, Config)


def option_at(config_class: type[Config], location: Sequence[int | str]) -> tuple[Any, Sequence[Any]]:
    """Type and bounds of the option at a location; the class itself where it is empty."""
    annotation: Any = config_class
    metadata: Sequence[Any] = ()
    for step in location:
        annotation, metadata = _inside(annotation, step)
    return _bare(annotation, metadata)


def model_at(config_class: type[Config], location: Sequence[int | str]) -> type[Config] | None:
    """The config class whose table stands at a location, if it is one."""
    annotation, _ = option_at(config_class, location)
    return next((kind for kind in _members(annotation) if _is_config(kind)), None)


def _members(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if _is_union(get_origin(annotation)) else (annotation,)


def _inside(annotation: Any, step: int | str) -> tuple[Any, Sequence[Any]]:
    """Type and bounds one step into a table or an array."""
    for kind in _members(_bare(annotation, ())[0]):
        kind, _ = _bare(kind, ())
        origin, args = get_origin(kind), get_args(kind)
        if _is_config(kind) and step in kind.model_fields:
            field = kind.model_fields[str(step)]
            return field.annotation, field.metadata
        if isinstance(step, int) and _is_array(origin) and args:
            fixed = origin is tuple and args[-1] is not Ellipsis
            return args[min(step, len(args) - 1) if fixed else 0], ()
        if isinstance(step, str) and isinstance(origin, type) and issubclass(origin, Mapping):
            return args[1], ()
    return Any, ()


def options(
    config_class: type[Config], prefix: str = ""
) -> Iterator[tuple[str, Any, Sequence[Any], Any, str | None]]:
    """(dotted key, type, bounds, default, help) of every option; `...` stands for no default."""
    for name, field in config_class.model_fields.items():
        if _is_config(field.annotation):
            yield from options(field.annotation, f"{prefix}{name}.")  # type: ignore[arg-type]
            continue
        default = ... if field.is_required() else field.get_default(call_default_factory=True)
        yield prefix + name, field.annotation, field.metadata, default, field.description


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
