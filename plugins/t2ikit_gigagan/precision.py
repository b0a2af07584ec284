"""Half-precision numbers to float32, others as they are."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float(x: Tensor) -> Tensor:
    """x in float32, or in float64 if it is."""
    return x if x.dtype == torch.float64 else x.float()
