"""A denoiser's calls replayed as CUDA graphs: sampling makes the same one dozens of times."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from t2ikit.core.batch import Condition
from t2ikit.core.interfaces import Sampler
from t2ikit.core.out_of_memory import is_out_of_memory, release_memory
from t2ikit.nn.cuda_graphs import CudaGraphs, OnCuda, Recorder
from t2ikit.utils.console import detail
from t2ikit.utils.quoting import one_line

ROUNDING = 0.02
"""By how much a replayed output may differ from the eager one, relative to the largest value."""


@dataclass(frozen=True)
class Call:
    """What a denoiser is asked: x (B, 3, H, W), t (B,), a condition, and the last estimate.

    `guide` is the condition as another model prepared it, which is asked the same; None: none is.
    """

    x: Tensor
    t: Tensor
    condition: Condition
    previous: Tensor | None
    guide: Condition | None = None


class DenoiserGraphs:
    """Calls of one denoiser in evaluation mode; where they cannot be captured, they go on as they are.

    Args:
        recorder: where calls run and are captured.
    """

    def __init__(self, recorder: Recorder) -> None:
        self.graphs: CudaGraphs | None = CudaGraphs(recorder)

    def __call__(self, weights: Hashable, function: Callable[[Call], Tensor], call: Call) -> Tensor:
        """What `function` gives, which must depend on `weights` and the call alone."""
        if self.graphs is None:
            return function(call)
        if self.graphs.state_of(weights, call) != "to be captured":
            return self._replay(weights, function, call)
        expected = function(call)
        try:
            found = self._replay(weights, function, call)
        except Exception as error:  # noqa: BLE001 - a plugin's model may do anything
            if is_out_of_memory(error):
                self.graphs = None
                release_memory()
                return expected
            return self._without(one_line(error, 160), expected)
        apart = float((found - expected).abs().max())
        if not apart <= ROUNDING * float(expected.abs().max().clamp_min(1e-6)):
            return self._without(f"the output differs by {apart:.3g}", expected)
        return found

    def _replay(self, weights: Hashable, function: Callable[[Call], Tensor], call: Call) -> Tensor:
        assert self.graphs is not None
        return self.graphs(weights, lambda inputs, captured: {"output": function(inputs)}, call)["output"]

    def _without(self, why: str, expected: Tensor) -> Tensor:
        self.graphs = None
        detail(f"sampling goes on without CUDA graphs: {why}")
        return expected


@contextmanager
def capturing(sampler: Sampler, device: torch.device) -> Iterator[None]:
    """On a CUDA device, let a sampler replay the calls of its model; their memory is freed in the end."""
    if device.type != "cuda":
        yield
        return
    sampler.graphs = DenoiserGraphs(OnCuda(device))
    try:
        yield
    finally:
        sampler.graphs = None
