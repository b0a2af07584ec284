"""Whether two ways to compute the same step agree."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from t2ikit.utils.quoting import one_line

HOST_VALUE = re.compile(r"HostValueRead\W+(captions|step\.number)")
Values = tuple[Sequence[str], Tensor]
"""Names of losses and gradient norms, and their values (names,)."""


def stacked(values: Mapping[str, Tensor]) -> Values:
    """Scalars as names and one tensor."""
    return list(values), torch.stack([value.detach().float() for value in values.values()])


@torch.no_grad()
def copy(targets: Sequence[Tensor], sources: Sequence[Tensor]) -> None:
    """Overwrite tensors with others."""
    for target, source in zip(targets, sources, strict=True):
        target.copy_(source)


@torch.no_grad()
def exchange(some: Sequence[Tensor], others: Sequence[Tensor]) -> None:
    """Give each tensor what the other holds; no more than one of them is held a third time."""
    for one, other in zip(some, others, strict=True):
        held = one.clone()
        one.copy_(other)
        other.copy_(held)


def difference(expected: Values, found: Values, tolerance: float) -> str | None:
    """The value that differs by more than `tolerance` times the largest, in words."""
    names, a = expected
    b = found[1]
    allowed = tolerance * float(a.abs().nan_to_num().max().clamp_min(1e-6))
    for name, one, other in zip(names, a.tolist(), b.tolist(), strict=True):
        both_nan = one != one and other != other
        if not abs(one - other) <= allowed and not both_nan:
            return f"{name} {other:.4g} in place of {one:.4g}"
    return None


@torch.no_grad()
def length(vectors: Sequence[Tensor]) -> float:
    """Of tensors as one vector. Integers are left out. NaN where one of them is not finite."""
    return _root(one.double().square().sum() for one in vectors if one.is_floating_point())


@torch.no_grad()
def distance(some: Sequence[Tensor], others: Sequence[Tensor]) -> float:
    """`length` of the difference of two lists of tensors, of which one tensor is held at once."""
    pairs = zip(some, others, strict=True)
    return _root((a - b).double().square().sum() for a, b in pairs if a.is_floating_point())


def _root(squares: Iterable[Tensor]) -> float:
    found = list(squares)
    return float(torch.stack(found).sum().sqrt()) if found else 0.0


def off(apart: float, scale: float) -> float:
    """A distance relative to a length, which may be 0."""
    return apart / max(scale, 1e-30) if apart else 0.0


def reason(error: BaseException) -> str:
    """Why a step could not be compiled or captured, on one line."""
    read = HOST_VALUE.search(f"{type(error).__name__}({str(error)!r}) {error}")
    if read is not None:
        return f"a loss or a model reads {read[1]}, which stays as it is in such a step"
    lines = [line for line in str(error).splitlines() if line.strip()]
    return one_line(f"{type(error).__name__}: {' '.join(lines[:2])}", 160)
