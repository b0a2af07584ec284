"""Muon for matrices and convolutions, AdamW for the rest, as one optimiser.

Muon replaces the momentum of a matrix by the nearest matrix with orthonormal rows or columns, so that every
direction of its input learns at the same rate. Sources: Muon (Keller Jordan, 2024,
https://kellerjordan.github.io/posts/muon/); update size of AdamW, so that both share a learning rate: arXiv
2502.16982 (section 2.2); the iteration: `orthogonalise`.

`torch.optim.Muon` (2.9 and later) takes matrices alone, one after the other; here convolutions are matrices
of (output channels, all the rest), and all go through the iteration together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from t2ikit.nn.orthogonalise import orthogonalise_all

_TREATMENT = "t2ikit_muon"
UPDATE_RMS = 0.2
"""Root mean square of an update at learning rate 1, as AdamW's is."""


def exclude_from_muon(*parameters: Any) -> None:
    """Leave parameters to AdamW: embeddings, and the layers that meet images or give them.

    Muon's update is as large in every direction, however little each matters; at an output that is noise.
    """
    for parameter in parameters:
        if parameter is not None:
            setattr(parameter, _TREATMENT, "vector")


def bank_of_matrices(parameter: nn.Parameter) -> None:
    """Say that a parameter (K, rows, ...) is K matrices side by side."""
    setattr(parameter, _TREATMENT, "bank")


def is_matrix(parameter: nn.Parameter) -> bool:
    """Whether a parameter is Muon's: it has two or more dimensions, and nothing else was said of it."""
    return parameter.ndim >= 2 and getattr(parameter, _TREATMENT, "matrix") != "vector"


def as_matrices(tensor: Tensor, like: Tensor) -> Tensor:
    """Its numbers as (K, M, N), by what was said of `like`: K > 1 for a bank.

    Columns are in the order in which `like` lies in memory, so that nothing is copied.
    """
    matrices = tensor.permute(_order(like)).flatten(1 + _is_bank(like))
    return matrices if _is_bank(like) else matrices[None]


def from_matrices(matrices: Tensor, like: Tensor) -> Tensor:
    """The inverse of `as_matrices`."""
    order = _order(like)
    inverse = [order.index(dimension) for dimension in range(like.ndim)]
    return matrices.reshape([like.shape[dimension] for dimension in order]).permute(inverse)


def _is_bank(parameter: Tensor) -> bool:
    return getattr(parameter, _TREATMENT, "matrix") == "bank"


def _order(like: Tensor) -> list[int]:
    """Its dimensions, those of the columns from the outermost in memory to the innermost."""
    first = 1 + _is_bank(like)
    return [*range(first), *sorted(range(first, like.ndim), key=like.stride, reverse=True)]


class MuonAdamW(torch.optim.AdamW):
    """Muon for what `is_matrix`, AdamW for the rest.

    Args:
        parameters: of one model.
        lr: learning rate of both; a tensor without dimensions, on the parameters' device, can be filled from
            step to step, in a CUDA graph too.
        betas, eps: of AdamW.
        weight_decay: decoupled, of both.
        momentum: of Muon, Nesterov's.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        lr: float | Tensor,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
    ) -> None:
        every = list(parameters)
        groups: list[dict[str, Any]] = [
            {"params": [p for p in every if is_matrix(p) == muon], "muon": muon, "momentum": momentum}
            for muon in (False, True)
        ]
        super().__init__(
            [group for group in groups if group["params"]],
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            fused=True,
            capturable=isinstance(lr, Tensor) and lr.is_cuda,
        )
        # A scaler of fp16 then leaves out steps that overflowed; fused AdamW would, for its part alone.
        self._step_supports_amp_scaling = False

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Skips AdamW's own, which expects a step count of every parameter."""
        torch.optim.Optimizer.__setstate__(self, state)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step of both; `closure` as in any torch optimiser."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        groups = self.param_groups
        for group in groups:
            if group["muon"]:
                self._muon(group)
        self.param_groups = [group for group in groups if not group["muon"]]
        try:
            if self.param_groups:
                super().step()
        finally:
            self.param_groups = groups
        return loss

    def _muon(self, group: dict[str, Any]) -> None:
        """One step of all that is Muon's."""
        moved: dict[Any, list[nn.Parameter]] = {}
        for parameter in group["params"]:
            if parameter.grad is not None:
                moved.setdefault((parameter.device, parameter.dtype), []).append(parameter)
        for alike in moved.values():
            self._update(alike, group)

    def _update(self, parameters: list[nn.Parameter], group: dict[str, Any]) -> None:
        """One step of parameters of one device and dtype; a learning rate on the device stays there."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        for p in parameters:
            if not self.state[p]:
                self.state[p]["momentum"] = torch.zeros_like(p)
        weights: list[Tensor] = [p.data for p in parameters]
        buffers: list[Tensor] = [self.state[p]["momentum"] for p in parameters]
        torch._foreach_lerp_(buffers, gradients, 1 - group["momentum"])
        ahead = torch._foreach_lerp(gradients, buffers, group["momentum"])
        updates = _updates(ahead, parameters, -group["lr"])
        if group["weight_decay"]:
            torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(weights, updates)


def _updates(
    ahead: Sequence[Tensor], parameters: Sequence[nn.Parameter], rate: float | Tensor
) -> list[Tensor]:
    """What is added to each parameter: its orthogonalised momentum, of UPDATE_RMS times the rate."""
    matrices = [as_matrices(tensor, p) for tensor, p in zip(ahead, parameters, strict=True)]
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for place, each in enumerate(matrices):
        by_shape.setdefault(tuple(each.shape[1:]), []).append(place)
    stacks = [_stack([matrices[place] for place in places]) for places in by_shape.values()]
    scales = [UPDATE_RMS * max(shape) ** 0.5 for shape in by_shape]
    # On a GPU, few operations count; on a CPU, the numbers that they compute.
    gpu = not ahead[0].is_cpu
    results = orthogonalise_all(stacks, scales, rate, padded=gpu, dtype=_iteration_dtype(ahead[0].device))
    updates: dict[int, Tensor] = {}
    for places, result in zip(by_shape.values(), results, strict=True):
        parts = result.split([len(matrices[place]) for place in places])
        updates |= {place: from_matrices(part, parameters[place]) for place, part in zip(places, parts)}
    return [updates[place] for place in range(len(matrices))]


def _stack(matrices: list[Tensor]) -> Tensor:
    return (matrices[0] if len(matrices) == 1 else torch.cat(matrices)).float()


def _iteration_dtype(device: torch.device) -> torch.dtype | None:
    """fp16 where products of fp32 are rounded to TF32 anyway, which has as long a mantissa.

    bf16, at the same speed, would be 8 times less exact, and small singular values are squared here.
    """
    fast = torch.get_float32_matmul_precision() != "highest"
    if device.type == "cuda" and fast and torch.cuda.get_device_capability(device) >= (8, 0):
        return torch.float16
    return None
