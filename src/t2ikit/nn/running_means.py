"""Means of named values since they were last read."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from accelerate import Accelerator
from torch import Tensor


class RunningMeans:
    """Collects values without waiting for the device that computes them.

    Args:
        accelerator: whose processes each hold a part of every mean.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self._sums: dict[str, list[float]] = {}
        self._new: list[tuple[tuple[str, ...], Tensor]] = []

    def add(self, names: Sequence[str], values: Tensor) -> None:
        """Add one value to the mean of each name; a device is not waited for.

        Args:
            names: of the values.
            values: (names,), theirs to keep.
        """
        self._new.append((tuple(names), values.detach()))

    @property
    def sums(self) -> dict[str, list[float]]:
        """Sum and count of each name since the last `read`: what a checkpoint keeps."""
        for names, values in self._new:
            for name, value in zip(names, values.tolist(), strict=True):
                total, count = self._sums.get(name, [0.0, 0.0])
                self._sums[name] = [total + value, count + 1]
        self._new = []
        return self._sums

    @sums.setter
    def sums(self, sums: dict[str, list[float]]) -> None:
        self._sums, self._new = dict(sums), []

    def average_over_processes(self) -> None:
        """Make each sum the mean over all processes; every process calls it."""
        if self.accelerator.num_processes == 1:
            return
        names = sorted(self.sums)
        totals = torch.tensor([self.sums[name][0] for name in names], dtype=torch.float64)
        shared = self.accelerator.reduce(totals.to(self.accelerator.device), "mean").tolist()
        self.sums = {name: [total, self.sums[name][1]] for name, total in zip(names, shared, strict=True)}

    def read(self) -> dict[str, float]:
        """Means since the last call, over all processes; every process calls it."""
        self.average_over_processes()
        means = {name: total / count for name, (total, count) in sorted(self.sums.items())}
        self.sums = {}
        return means
