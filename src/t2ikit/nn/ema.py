"""Averaged weights, buffers included, over diffusers' EMAModel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from diffusers.training_utils import EMAModel
from torch import Tensor, nn


class EMA:
    """Exponential moving average of a module's parameters; buffers and frozen parameters are copied.

    The decay warms up as min(decay, (1 + n) / (10 + n)) over the updates n, as in diffusers.

    Args:
        module: whose state is averaged.
        decay: of the average, a step.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = module
        self.model = EMAModel(list(self._live().values()), decay=decay, foreach=True)

    def _live(self) -> dict[str, Tensor]:
        return dict(self.module.state_dict(keep_vars=True))

    def step(self) -> None:
        """Follow the module one step."""
        self.model.step(self._live().values())

    def tensors(self) -> dict[str, Tensor]:
        """The averaged state by name."""
        return dict(zip(self._live(), self.model.shadow_params, strict=True))

    def load(self, tensors: dict[str, Tensor], steps: int) -> None:
        """Go on from a saved average that had followed `steps` steps."""
        for name, shadow in self.tensors().items():
            shadow.copy_(tensors[name])
        self.model.optimization_step = steps

    @contextmanager
    def average_parameters(self) -> Iterator[None]:
        """The module holds the averaged state inside, its own again afterwards."""
        live = self._live()
        own = {name: tensor.detach().clone() for name, tensor in live.items()}
        with torch.no_grad():
            for name, shadow in self.tensors().items():
                live[name].copy_(shadow)
        try:
            yield
        finally:
            with torch.no_grad():
                for name, tensor in own.items():
                    live[name].copy_(tensor)
