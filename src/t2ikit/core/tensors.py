"""Tensors within the dataclasses that flow through a step, and those dataclasses without their strings.

A step that is compiled or captured as a CUDA graph runs again with other contents of the same tensors.
Whatever else it reads stays as it was, so what changes from step to step is kept out of its reach.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar, overload

from torch import Tensor

T = TypeVar("T")


class HostValueRead(RuntimeError):
    """Code that is to run again with other tensors read what is known on the host only."""


class Withheld(Sequence[str]):
    """As many captions as there were, which cannot be read.

    Args:
        number: how many.

    Raises:
        HostValueRead: when one is read.
    """

    def __init__(self, number: int) -> None:
        self.number = number

    def __len__(self) -> int:
        return self.number

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Withheld: ...
    def __getitem__(self, index: int | slice) -> str | Withheld:
        if isinstance(index, slice):
            return Withheld(len(range(*index.indices(self.number))))
        raise HostValueRead("captions")

    def __mul__(self, times: int) -> Withheld:
        return Withheld(self.number * times)

    def __iter__(self) -> Iterator[str]:
        raise HostValueRead("captions")

    def __contains__(self, caption: object) -> bool:
        raise HostValueRead("captions")


def map_tensors(value: T, function: Callable[[Tensor], Tensor]) -> T:
    """The same dataclass, or tuple, list or dict of them, with every tensor replaced."""
    if isinstance(value, Tensor):
        return function(value)  # type: ignore[return-value]
    if is_dataclass(value) and not isinstance(value, type):
        own: dict[str, Any] = {field.name: getattr(value, field.name) for field in fields(value)}
        return replace(value, **{name: map_tensors(one, function) for name, one in own.items()})
    if isinstance(value, dict):
        return {name: map_tensors(one, function) for name, one in value.items()}  # type: ignore[return-value]
    if isinstance(value, (tuple, list)):
        return type(value)(map_tensors(one, function) for one in value)
    return value


def tensors_of(value: Any) -> list[Tensor]:
    """Every tensor in it, in a fixed order; one that is there twice comes twice."""
    found: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    map_tensors(value, keep)
    return found


def without_strings(value: T) -> T:
    """The same dataclasses with `Withheld` in place of each tuple of strings."""
    if isinstance(value, tuple) and value and all(isinstance(one, str) for one in value):
        return Withheld(len(value))  # type: ignore[return-value]
    if is_dataclass(value) and not isinstance(value, type):
        own: dict[str, Any] = {field.name: getattr(value, field.name) for field in fields(value)}
        return replace(value, **{name: without_strings(one) for name, one in own.items()})
    return value
