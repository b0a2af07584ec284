"""Calls that run again as CUDA graphs: all their kernels with one launch, where Python would launch each.

Source: https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

import torch
from torch import Tensor

from t2ikit.core.tensors import map_tensors, tensors_of, without_strings

R = TypeVar("R")
T = TypeVar("T")
Function = Callable[[T, bool], dict[str, Tensor]]
"""From inputs, and whether it is being captured, to outputs."""
WARM_UP = 2
"""Calls that run as they are before one is captured: they make what lives on, such as moments."""


class Recorder(Protocol):
    """Where calls run and are captured."""

    def run(self, code: Callable[[], R]) -> R:
        """Run code that will be captured later."""

    def capture(self, code: Callable[[], None]) -> Callable[[], None]:
        """Capture code, whose kernels do not run; returns what runs them."""


class OnCuda:
    """Captures kernels on a CUDA device; the memory that they need between them is shared by all graphs.

    Args:
        device: a CUDA device.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.pool = device, torch.cuda.graph_pool_handle()
        self.stream = torch.cuda.Stream(device)

    def run(self, code: Callable[[], R]) -> R:
        """Run code on the stream that it will be captured on, which autograd remembers."""
        current = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            result = code()
        current.wait_stream(self.stream)
        return result

    def capture(self, code: Callable[[], None]) -> Callable[[], None]:
        """Capture code, whose kernels do not run; returns what runs them."""
        torch.cuda.synchronize(self.device)
        torch.cuda.empty_cache()  # what the calls before held is to be had for the graph
        graph = torch.cuda.CUDAGraph()
        # Other threads go on: the one that pins batches may allocate meanwhile.
        with torch.cuda.graph(graph, self.pool, self.stream, capture_error_mode="thread_local"):
            code()
        return graph.replay


@dataclass
class _Graph:
    """A captured call.

    Attributes:
        inputs: the tensors that it reads.
        outputs: those that it fills.
        replay: runs it.
    """

    inputs: list[Tensor]
    outputs: dict[str, Tensor]
    replay: Callable[[], None]


class CudaGraphs:
    """Calls of functions from dataclasses of tensors to named tensors, captured once for each key and shape.

    A function may read other tensors, such as weights, and change them in place. Whatever else it reads must
    depend on the key alone: it stays as it was when the graph was captured. Strings are withheld.

    Args:
        recorder: where calls run and are captured.
    """

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self._calls: dict[Hashable, int] = {}
        self._graphs: dict[Hashable, _Graph] = {}

    def __call__(self, key: Hashable, function: Function[T], inputs: T) -> dict[str, Tensor]:
        """What the function gives; the tensors are the caller's to keep.

        Raises:
            HostValueRead: the function reads captions.
            RuntimeError: it does what cannot be captured, such as waiting for the device.
        """
        given = tensors_of(inputs)
        place = _place(key, given)
        graph = self._graphs.get(place)
        if graph is None:
            calls = self._calls.get(place, 0)
            self._calls[place] = calls + 1
            if calls < WARM_UP:
                return self.recorder.run(lambda: function(inputs, False))
            graph = self._graphs[place] = self._captured(function, inputs)
        torch._foreach_copy_(graph.inputs, given)
        graph.replay()
        return {name: value.clone() for name, value in graph.outputs.items()}

    def state_of(self, key: Hashable, inputs: Any) -> Literal["warming up", "to be captured", "captured"]:
        """What the next call will be: run as it is, captured, or replayed."""
        place = _place(key, tensors_of(inputs))
        if place in self._graphs:
            return "captured"
        return "warming up" if self._calls.get(place, 0) < WARM_UP else "to be captured"

    def __len__(self) -> int:
        return len(self._graphs)

    def clear(self) -> None:
        """Forget all graphs and give back their memory."""
        self._graphs.clear()
        self._calls.clear()

    def _captured(self, function: Function[T], inputs: T) -> _Graph:
        own = map_tensors(inputs, torch.clone)
        outputs: dict[str, Tensor] = {}
        replay = self.recorder.capture(lambda: outputs.update(function(without_strings(own), True)))
        return _Graph(tensors_of(own), outputs, replay)


def _place(key: Hashable, inputs: Sequence[Tensor]) -> Hashable:
    return key, tuple((tensor.shape, tensor.dtype) for tensor in inputs)
