"""Rudin, Osher and Fatemi, "Nonlinear total variation based noise removal algorithms" (1992), anisotropic."""

from torch import Tensor


def total_variation(images: Tensor) -> Tensor:
    """Mean of |x[i+1, j] - x[i, j]| plus mean of |x[i, j+1] - x[i, j]| of images (B, 3, H, W); (B,)."""
    down = (images[:, :, 1:, :] - images[:, :, :-1, :]).abs().mean((1, 2, 3))
    right = (images[:, :, :, 1:] - images[:, :, :, :-1]).abs().mean((1, 2, 3))
    return down + right
