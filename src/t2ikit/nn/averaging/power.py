"""Power-function averages of weights, kept while they are trained.

Source: Karras et al., "Analyzing and Improving the Training Dynamics of Diffusion Models", arXiv 2312.02696,
section 3.1. At time t the weights of time s count in proportion to s ** gamma, so the average gets longer as
training does: its width is a share `sigma_rel` of the time trained so far.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

WIDTHS = (0.05, 0.1)
"""Relative widths of the two averages that a run keeps, as in the paper."""


def exponent(width: float) -> float:
    """The gamma whose power function s ** gamma on [0, 1] has the standard deviation `width`.

    That is sqrt((gamma + 1) / ((gamma + 2) ** 2 (gamma + 3))), so gamma is the largest root of a cubic.
    `width` must lie in (0, 0.2886]: the flat average, gamma 0, is 12 ** -0.5 wide.
    """
    square = width**-2
    return float(np.roots([1, 7, 16 - square, 12 - square]).real.max())


class PowerAverages:
    """Power-function averages of a module's trained parameters, in float32 or wider.

    After t steps the weights of step s count ((s / t) ** (gamma + 1) - ((s - 1) / t) ** (gamma + 1)): the
    integral of the power function over that step, exactly. Initial weights do not count.

    Args:
        module: whose parameters are averaged; those frozen now are left out.
        widths: a relative width for each average.

    Attributes:
        steps: how many the averages have followed.
        averages: by width, the averaged parameters by name.
    """

    def __init__(self, module: nn.Module, widths: Sequence[float] = WIDTHS) -> None:
        self.steps = 0
        trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self._powers = {width: exponent(width) + 1 for width in widths}
        self.averages = {
            width: {name: p.detach().to(_wide(p)).clone() for name, p in trained.items()} for width in widths
        }
        self._groups: dict[tuple[torch.device, torch.dtype], dict[str, nn.Parameter]] = {}
        for name, parameter in trained.items() if widths else ():
            self._groups.setdefault((parameter.device, _wide(parameter)), {})[name] = parameter

    @torch.no_grad()
    def step(self) -> None:
        """Follow the module one step; nothing here waits for a device."""
        self.steps += 1
        for (_, dtype), parameters in self._groups.items():
            now = [parameter.detach().to(dtype) for parameter in parameters.values()]
            for width, average in self.averages.items():
                rate = 1 - (1 - 1 / self.steps) ** self._powers[width]
                torch._foreach_lerp_([average[name] for name in parameters], now, rate)

    def load(self, averages: dict[float, dict[str, Tensor]], steps: int) -> None:
        """Go on from saved averages that had followed `steps` steps."""
        for width, average in self.averages.items():
            for name, tensor in average.items():
                tensor.copy_(averages[width][name])
        self.steps = steps


def _wide(parameter: Tensor) -> torch.dtype:
    """What an average is kept in: a step's change would be lost in half precision."""
    return torch.promote_types(parameter.dtype, torch.float32)
