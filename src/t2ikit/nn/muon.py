"""Muon for matrices and convolutions, AdamW for the rest, as one optimiser.

Muon replaces the momentum of a matrix by the nearest matrix with orthonormal rows or columns, so that every
direction of its input learns at the same rate. Sources: Muon (Keller Jordan, 2024,
https://kellerjordan.github.io/posts/muon/); update size of AdamW, so that both share a learning rate: arXiv
2502.16982 (section 2.2); the coefficients of the iteration: arXiv 2505.16932 (Polar Express, appendix).

`torch.optim.Muon` (2.9 and later) takes matrices alone, one after the other; here convolutions are matrices
of (output channels, all the rest), and equal shapes go through the iteration together.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

_POLAR = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
)
_SAFETY = 1.01
"""What singular values are divided by at every iteration, against rounding."""
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


def as_matrices(parameter: Tensor, like: Tensor) -> Tensor:
    """Its numbers as (K, M, N), by what was said of `like`: K > 1 for a bank."""
    first = 1 if getattr(like, _TREATMENT, "matrix") == "bank" else 0
    matrices = parameter.flatten(first + 1)
    return matrices if first else matrices[None]


def orthogonalise(matrices: Tensor, iterations: int = 3) -> Tensor:
    """Bring the singular values of (K, M, N) matrices near 1.

    Odd polynomials of the matrix, hence matrix products alone. Most values end between 0.2 and 1.9 after 3
    iterations, between 0.85 and 1.13 after 5 (the most); training is no better with 5.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) * _SAFETY + 1e-7)
    factors = [(a / _SAFETY, b / _SAFETY**3, c / _SAFETY**5) for a, b, c in _POLAR[:iterations]]
    x = _through_gram(x, factors) if x.shape[2] >= 2 * x.shape[1] else _directly(x, factors)
    return x.mT if tall else x


def _directly(x: Tensor, factors: list[tuple[float, float, float]]) -> Tensor:
    """a x + b (x x^T) x + c (x x^T)^2 x, for each (a, b, c) in turn."""
    for a, b, c in factors:
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


def _through_gram(x: Tensor, factors: list[tuple[float, float, float]]) -> Tensor:
    """The same for wide matrices: the polynomials are multiplied at the size of x x^T, and x is met twice."""
    gram, product = x @ x.mT, None
    for a, b, c in factors:
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        polynomial.diagonal(dim1=1, dim2=2).add_(a)
        product = polynomial if product is None else polynomial @ product
        gram = polynomial @ gram @ polynomial
    return x if product is None else product @ x


class MuonAdamW(torch.optim.AdamW):
    """Muon for what `is_matrix`, AdamW for the rest.

    Args:
        parameters: of one model.
        lr: learning rate of both.
        betas, eps: of AdamW.
        weight_decay: decoupled, of both.
        momentum: of Muon, Nesterov's.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        lr: float,
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
        )

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
        by_shape: dict[tuple[Any, ...], list[nn.Parameter]] = {}
        for parameter in group["params"]:
            if parameter.grad is not None:
                key = (as_matrices(parameter, parameter).shape, parameter.device, parameter.dtype)
                by_shape.setdefault(key, []).append(parameter)
        for alike in by_shape.values():
            self._update(alike, group)

    def _update(self, alike: list[nn.Parameter], group: dict[str, Any]) -> None:
        """One step of parameters that are matrices of one shape."""
        gradients = [p.grad for p in alike if p.grad is not None]
        for p in alike:
            if not self.state[p]:
                self.state[p]["momentum"] = torch.zeros_like(p)
        weights: list[Tensor] = [p.data for p in alike]
        buffers: list[Tensor] = [self.state[p]["momentum"] for p in alike]
        torch._foreach_lerp_(buffers, gradients, 1 - group["momentum"])
        ahead = torch._foreach_lerp(gradients, buffers, group["momentum"])
        stacked = torch.cat([as_matrices(each, p) for each, p in zip(ahead, alike, strict=True)])
        updates = orthogonalise(stacked.float()).chunk(len(alike))
        rate = group["lr"] * UPDATE_RMS * max(stacked.shape[1:]) ** 0.5
        if group["weight_decay"]:
            torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
        shaped = [update.view_as(p).to(p.dtype) for update, p in zip(updates, alike, strict=True)]
        torch._foreach_add_(weights, shaped, alpha=-rate)
