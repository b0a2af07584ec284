"""How weights lie in memory."""

from __future__ import annotations

import torch
from torch import nn


def use_channels_last(module: nn.Module) -> None:
    """Lay the weights of convolutions out with channels last, and so what they compute.

    Numbers and shapes are the same, but for rounding; tensor cores read this layout as it is.
    """
    for layer in module.modules():
        weight = layer._parameters.get("weight")
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)) and weight is not None:
            weight.data = weight.data.to(memory_format=torch.channels_last)
