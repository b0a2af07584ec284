"""Images that look alike, found by their thumbnails.

A fingerprint is a thumbnail of 8 x 8 in gray and 4 x 4 in colour, without its mean and contrast, so that
another size, compression or brightness changes it little. The nearest fingerprint of each image is found
exactly, in blocks of matrix products; what is found is compared again in all of 16 x 16 pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from t2ikit.utils.images import as_rgb, from_uint8, to_levels

SIDE = 16
"""Pixels of a thumbnail's sides."""
ALIKE = 0.985
"""Least correlation of two thumbnails, of colours and all, that count as one image."""
COLOUR = 12.0
"""Most levels by which the mean colours of two such thumbnails differ."""
FLAT = 4.0
"""Standard deviation, levels, below which an image shows nothing that could be compared."""
BLOCK = 2048


def thumbnail(image: Tensor) -> Tensor:
    """An image (C, H, W) uint8 as (3, SIDE, SIDE) float32, levels from 0 to 255, on white."""
    levels = to_levels(as_rgb(from_uint8(image))).float()
    return functional.adaptive_avg_pool2d(levels, SIDE)


def contrast(thumbnails: Tensor) -> Tensor:
    """How much each of (N, 3, SIDE, SIDE) varies, (N,), levels: 0 where the image has one colour."""
    return (thumbnails - thumbnails.mean((2, 3), keepdim=True)).flatten(1).pow(2).mean(1).sqrt()


def nearest(
    thumbnails: Tensor, queries: Sequence[int], keys: Sequence[int], *, earlier: bool = False
) -> list[tuple[int, int]]:
    """Of images that look like another one, the places of both.

    Args:
        thumbnails: (N, 3, SIDE, SIDE).
        queries: places of the images to find another for, ascending.
        keys: places of the images to find, ascending.
        earlier: find only what stands before the query.

    Returns:
        pairs of query and key, at most one a query, in the order of the queries.
    """
    prints, numbers, found = _fingerprints(thumbnails), torch.tensor(keys), []
    for at in range(0, len(queries), BLOCK):
        block = torch.tensor(queries[at : at + BLOCK])
        before = numbers[numbers < block[-1]] if earlier else numbers
        if not len(before):
            continue
        likeness = prints[block] @ prints[before].T
        if earlier:
            likeness[before[None, :] >= block[:, None]] = -torch.inf
        value, best = likeness.max(1)
        alike = _alike(thumbnails[block], thumbnails[before[best]]) & value.isfinite()
        found += [(int(block[row]), int(before[best[row]])) for row in alike.nonzero()[:, 0].tolist()]
    return found


def _fingerprints(thumbnails: Tensor) -> Tensor:
    """Unit vectors (N, 112), whose products are near 1 for images that look alike."""
    gray = functional.avg_pool2d(thumbnails.mean(1, keepdim=True), SIDE // 8)
    colour = functional.avg_pool2d(thumbnails, SIDE // 4)
    parts = torch.cat([gray.flatten(1), colour.flatten(1)], 1)
    return functional.normalize(parts - parts.mean(1, keepdim=True), dim=1)


def _alike(a: Tensor, b: Tensor) -> Tensor:
    """Which thumbnails of two sets (B, 3, SIDE, SIDE) show one image, (B,) bool."""
    means = (a.mean((2, 3)) - b.mean((2, 3))).abs().amax(1)
    x, y = (one - one.mean((2, 3), keepdim=True) for one in (a, b))
    correlation = functional.cosine_similarity(x.flatten(1), y.flatten(1))
    return (means <= COLOUR) & (correlation >= ALIKE) & (torch.minimum(contrast(a), contrast(b)) >= FLAT)
