"""Huber, "Robust Estimation of a Location Parameter" (1964), equation 2.4."""

import torch
from torch import Tensor


def huber(output: Tensor, target: Tensor, delta: float) -> Tensor:
    """Mean over all entries of e²/2 where |e| <= delta, of delta (|e| - delta/2) beyond; a scalar."""
    error = (output - target).abs()
    return torch.where(error <= delta, error**2 / 2, delta * (error - delta / 2)).mean()
