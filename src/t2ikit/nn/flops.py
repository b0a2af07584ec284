"""Model FLOPs: the multiplications and additions that a step's losses and gradients need.

Matrix products, convolutions and attention count; so does what is differentiated twice. What is computed anew
to save memory (checkpointing), the optimiser and everything that is done value by value does not. Source of
the measure: Chowdhery et al. 2022, "PaLM", appendix B (model FLOPs utilisation, MFU).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, TypeVar

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from t2ikit.core.peaks import peak_flops

R = TypeVar("R")


class FlopCounter(TorchDispatchMode):
    """Counts the FLOPs of what runs inside it, and changes nothing.

    Attributes:
        flops: counted so far.
        backward: a backward pass runs; what is computed with gradients in it is computed anew.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops, self.backward = 0, False
        self._formulas = _formulas()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operation and count it."""
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        formula = self._formulas.get(getattr(func, "_overloadpacket", func))
        if formula is not None and not (self.backward and torch.is_grad_enabled()):
            self.flops += int(formula(*args, **kwargs, out_val=out))
        return out


def _formulas() -> dict[Any, Callable[..., int]]:
    """PyTorch's, but for the backward pass of a convolution: it takes each group for a whole one."""
    from torch.utils.flop_counter import conv_flop, flop_registry, sdpa_backward_flop, sdpa_flop

    aten = torch.ops.aten

    def conv_backward(grad: Any, x: Any, weight: Any, *args: Any, out_val: Any = None) -> int:
        _, stride, padding, dilation, transposed, _, groups, wanted = args
        forward = conv_flop(x, weight, None, stride, padding, dilation, transposed, groups, out_val=grad)
        return int(forward) * sum(wanted[:2])  # of the input and of the weight: as much as the forward pass

    return {
        **flop_registry,
        aten.convolution_backward: conv_backward,
        aten._scaled_dot_product_flash_attention_for_cpu: sdpa_flop,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: sdpa_backward_flop,
    }


class ModelFlops:
    """The model FLOPs of a run on this device, counted at the first step of each combination of losses.

    Args:
        peak: of the device, FLOP/s; None counts nothing.

    Attributes:
        whole: all FLOPs so far.
    """

    def __init__(self, peak: float | None) -> None:
        self.peak = peak
        self.whole = 0
        self._known: dict[tuple[str, ...], int] = {}
        self._key: tuple[str, ...] = ()
        self._counter: FlopCounter | None = None
        self._since = 0

    def begin(self, player: str, losses: Sequence[str]) -> None:
        """A player's losses and gradients come next; where they are not counted yet, count them."""
        self._key = (player, *losses)
        unknown = self.peak is not None and self._key not in self._known
        self._counter = FlopCounter() if unknown else None

    @property
    def counting(self) -> bool:
        """Whether what runs now is counted: every operation must be seen."""
        return self._counter is not None

    def forward(self, function: Callable[..., R], *args: Any) -> R:
        """Call a forward pass."""
        with self._counter or nullcontext():
            return function(*args)

    def backward(self, function: Callable[..., R], *args: Any) -> R:
        """Call a backward pass."""
        if self._counter is not None:
            self._counter.backward = True
        try:
            return self.forward(function, *args)
        finally:
            if self._counter is not None:
                self._counter.backward = False

    def end(self) -> None:
        """The player's losses and gradients of the whole local batch are computed."""
        if self._counter is not None:
            self._known[self._key], self._counter = self._counter.flops, None

    def add(self, player: str, losses: Sequence[str]) -> None:
        """Such losses and gradients were computed in a step, by whatever way."""
        flops = self._known.get((player, *losses), 0)
        self._since, self.whole = self._since + flops, self.whole + flops

    def read(self) -> tuple[int, float | None]:
        """The FLOPs since the last call, and the peak."""
        since, self._since = self._since, 0
        return since, self.peak


def device_peak(device: torch.device, precision: str) -> float | None:
    """The peak of a device in FLOP/s at the precision of the matrix products; None where it is not known."""
    if device.type != "cuda":
        return None
    tf32 = torch.get_float32_matmul_precision() != "highest" or torch.backends.cudnn.allow_tf32
    return peak_flops(torch.cuda.get_device_name(device), precision, tf32=tf32)
