"""From an error somewhere inside a step to the part of the recipe that cannot be predicted."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    UnsupportedOperatorException,
)

from t2ikit.errors import UserError
from t2ikit.utils.quoting import one_line

TORCH = str(Path(torch.__file__).parent)
NEEDS_VALUES = (DataDependentOutputException, DynamicOutputShapeException, UnsupportedOperatorException)


@contextmanager
def explained(parts: Mapping[str, Any]) -> Iterator[None]:
    """Turn errors that come of tensors without contents into the user's.

    Args:
        parts: what the recipe's tables stand for.

    Raises:
        UserError: a part failed, or something asked a tensor for its contents.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        part, place = find(error, parts)
        if part is None and not isinstance(error, NEEDS_VALUES):
            raise
        raise UserError(
            f"{part or 'the recipe'} cannot be followed without computing it",
            expected="code that needs shapes alone: no .item(), float(), bool() or numpy() of a tensor, no "
            "x[mask], and captions that say anything",
            got=f"{type(error).__name__}: {one_line(error)} at {place}",
            fix="change it, leave the loss out with --set losses.NAME.weight=0, or give captions that it can "
            "read with --set 'train.prompts=[\"...\"]'",
        ) from error


def find(error: BaseException, parts: Mapping[str, Any]) -> tuple[str | None, str]:
    """The innermost part that was running, and the innermost line outside torch."""
    found, place = None, "an unknown place"
    for frame, line in traceback.walk_tb(error.__traceback__):
        found = next((name for name, part in parts.items() if _runs(frame, part)), found)
        code = frame.f_code
        if not code.co_filename.startswith(TORCH):
            place = f"{Path(code.co_filename).name}:{line}, in {code.co_name}"
    return found, place


def _runs(frame: FrameType, part: Any) -> bool:
    function = getattr(part, "func", part)  # of a functools.partial
    return frame.f_locals.get("self") is part or frame.f_code is getattr(function, "__code__", None)
