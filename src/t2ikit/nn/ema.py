"""Averaged weights, buffers included."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class EMA:
    """Exponential moving average of a module's parameters; buffers and frozen parameters are copied.

    The decay warms up as min(decay, (1 + n) / (10 + n)) over the updates n, as in diffusers' EMAModel.

    Args:
        module: whose state is averaged.
        decay: of the average, a step.

    Attributes:
        steps: how many the average has followed.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module, self.decay, self.steps = module, decay, 0
        self._places = _places(module)
        self._shadow = {name: tensor.detach().clone() for name, tensor in self._live().items()}
        devices = {tensor.device for tensor in self._shadow.values() if tensor.is_cuda}
        self._rates = {device: torch.zeros((), device=device) for device in devices}

    def _live(self) -> dict[str, Tensor]:
        """The module's own state by name, as it is now: buffers may be other tensors than before."""
        return {name: owner[key] for name, (owner, key) in self._places.items()}

    def step(self) -> None:
        """Follow the module one step."""
        self.begin_step()
        self.follow()
        self.steps += 1

    def begin_step(self) -> None:
        """Set the rate of the next step on the device: what of following it is the host's."""
        for rate in self._rates.values():
            rate.fill_(self._rate())

    def _rate(self) -> float:
        """The part of the way that the average goes to the module."""
        n = self.steps
        return 1 - min(self.decay, (1 + n) / (10 + n)) if n else 1.0

    @torch.no_grad()
    def follow(self) -> None:
        """Move towards the module: the same operations each step, on the device alone."""
        averaged: dict[tuple[torch.device, torch.dtype], list[tuple[Tensor, Tensor]]] = {}
        copied: dict[tuple[torch.device, torch.dtype], list[tuple[Tensor, Tensor]]] = {}
        for name, tensor in self._live().items():
            kinds = averaged if tensor.requires_grad else copied
            kinds.setdefault((tensor.device, tensor.dtype), []).append((self._shadow[name], tensor.detach()))
        for (device, _), pairs in averaged.items():
            _approach(*_unzip(pairs), self._rates.get(device, self._rate()))
        for pairs in copied.values():
            torch._foreach_copy_(*_unzip(pairs))

    def tensors(self) -> dict[str, Tensor]:
        """The averaged state by name."""
        return dict(self._shadow)

    def load(self, tensors: dict[str, Tensor], steps: int) -> None:
        """Go on from a saved average that had followed `steps` steps."""
        for name, shadow in self._shadow.items():
            shadow.copy_(tensors[name])
        self.steps = steps

    @contextmanager
    def average_parameters(self) -> Iterator[None]:
        """The module holds the averaged state inside, its own again afterwards."""
        live = self._live()
        own = {name: tensor.detach().clone() for name, tensor in live.items()}
        with torch.no_grad():
            for name, shadow in self._shadow.items():
                live[name].copy_(shadow)
        try:
            yield
        finally:
            with torch.no_grad():
                for name, tensor in own.items():
                    live[name].copy_(tensor)


def _places(module: nn.Module) -> dict[str, tuple[dict[str, Any], str]]:
    """Where a module keeps each tensor of its state: the dict and the key, by name."""
    places = {}
    for name in module.state_dict():
        path, _, key = name.rpartition(".")
        owner = module.get_submodule(path)
        places[name] = (owner._parameters if key in owner._parameters else owner._buffers, key)
    return places


def _unzip(pairs: list[tuple[Tensor, Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
    return [shadow for shadow, _ in pairs], [tensor for _, tensor in pairs]


def _approach(shadows: list[Tensor], tensors: list[Tensor], rate: float | Tensor) -> None:
    """shadow -= rate (shadow - tensor), by a host's or a device's number."""
    away = torch._foreach_sub(shadows, tensors)
    if isinstance(rate, Tensor):
        torch._foreach_mul_(away, rate)
        torch._foreach_sub_(shadows, away)
    else:
        torch._foreach_sub_(shadows, away, alpha=rate)
