"""Whether two ways to compute the same step agree."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

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
def distance(
    expected: Sequence[Tensor], found: Sequence[Tensor], scale: Sequence[Tensor] | None = None
) -> float:
    """How far two lists of tensors are apart, relative to the length of `scale`, or of the first.

    Integers are left out. NaN where one of them is not finite.
    """
    pairs = [(a, b) for a, b in zip(expected, found, strict=True) if a.is_floating_point()]
    apart = torch.stack([(a - b).double().square().sum() for a, b in pairs]).sum()
    lengths = [one for one in scale or expected if one.is_floating_point()]
    length = torch.stack([one.double().square().sum() for one in lengths]).sum()
    return float((apart / length.clamp_min(1e-60)).sqrt()) if float(apart) else 0.0


def reason(error: BaseException) -> str:
    """Why a step could not be compiled or captured, on one line."""
    read = HOST_VALUE.search(f"{type(error).__name__}({str(error)!r}) {error}")
    if read is not None:
        return f"a loss or a model reads {read[1]}, which stays as it is in such a step"
    lines = [line for line in str(error).splitlines() if line.strip()]
    return one_line(f"{type(error).__name__}: {' '.join(lines[:2])}", 160)
