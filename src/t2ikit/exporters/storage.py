"""The precision that an export's weights are stored in."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from t2ikit.nn.weights import check_finite
from t2ikit.runs.run import ENCODER

StoredType = Literal["float32", "float16", "bfloat16"]
TEXT = ("text_encoder", ENCODER)
"""Folders of an export whose weights stay as they are: a fingerprint is taken of them."""


def store_as(folder: Path, dtype: StoredType) -> None:
    """Write the model's weights in an export anew, in another precision; those of text encoders stay.

    Raises:
        UserError: a weight is not finite in it.
    """
    for file in sorted(folder.rglob("*.safetensors")):
        if not set(file.relative_to(folder).parts[:-1]) & set(TEXT):
            _rewrite(file, getattr(torch, dtype))


def _rewrite(file: Path, dtype: torch.dtype) -> None:
    tensors: dict[str, Tensor] = {}
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
        for name in opened.keys():  # noqa: SIM118 (it is no mapping)
            tensor = opened.get_tensor(name)
            tensors[name] = tensor.to(dtype) if tensor.is_floating_point() else tensor
    check_finite(tensors, {}, f"{file.name} in {dtype}", "export it as bfloat16, or as float32")
    save_file(tensors, file, metadata)
