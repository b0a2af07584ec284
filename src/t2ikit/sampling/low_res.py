"""What a super-resolution model is given where it is shown or measured: real pictures, shrunk."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from t2ikit.core.interfaces import Dataset, Generator
from t2ikit.core.super_resolution import shrink
from t2ikit.errors import UserError


def real_pictures(generator: Generator, dataset: Dataset, prompts: Sequence[str], seed: int) -> Tensor | None:
    """Real pictures (P, 3, H, W) in [-1, 1] of the prompts; None for a model that enlarges nothing.

    Raises:
        UserError: the model enlarges, and a prompt belongs to no picture.
    """
    if generator.enlarges is None:
        return None
    found = dataset.pictures(prompts, seed)
    if found is None:
        raise UserError(
            "this model enlarges pictures, and there is none of these prompts in the data",
            expected="captions of the dataset, whose pictures are shrunk and enlarged again",
            got=", ".join(repr(prompt) for prompt in list(prompts)[:4]),
            fix="leave train.prompts or --prompts out, or take captions of the data",
        )
    return torch.stack(found).float() / 127.5 - 1


def small_pictures(generator: Generator, real: Tensor | None, samples: int = 1) -> Tensor | None:
    """The pictures (P * samples, 3, h, w) to enlarge; None for a model that enlarges nothing."""
    if generator.enlarges is None or real is None:
        return None
    return shrink(real, generator.enlarges.ratio).repeat_interleave(samples, 0)
