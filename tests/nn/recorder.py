"""A CUDA graph's semantics on the CPU: operations are recorded, and replayed on the very same tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

from t2ikit.testing.operations import WAITS

SYNCS = WAITS | {"lift_fresh"}
"""Where the host waits for the device, or copies a number of its own to it."""
RESHAPES = ("unsqueeze_", "squeeze_", "t_", "transpose_", "as_strided_", "detach_")
"""What changes how a tensor is seen, and launches nothing."""


class Recording(TorchDispatchMode):
    """Records what is launched; what a capture refuses, such as waiting for a number, is refused."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], list[Tensor]]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = func._schema.name.removeprefix("aten::")
        if name in SYNCS:
            raise RuntimeError(f"operation not permitted when stream is capturing: {name}")
        kept = tree_map_only(Tensor, Tensor.detach, (args, kwargs))  # as they are seen now
        out = func(*args, **kwargs)
        if not func.is_view and name not in RESHAPES:
            self.calls.append((func, *kept, [one.detach() for one in _tensors(out)]))
        return out

    def replay(self) -> None:
        """Launch everything again, into the same memory."""
        with torch.no_grad():
            for func, args, kwargs, outputs in self.calls:
                for old, new in zip(outputs, _tensors(func(*args, **kwargs)), strict=True):
                    if old.data_ptr() != new.data_ptr():
                        old.copy_(new)


def _tensors(value: Any) -> list[Tensor]:
    return [one for one in tree_flatten(value)[0] if isinstance(one, Tensor)]


class Keeper(TorchDispatchMode):
    """Keeps what is about to be changed in place."""

    def __init__(self) -> None:
        super().__init__()
        self.before: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        named = dict(zip([one.name for one in func._schema.arguments], args, strict=False)) | kwargs
        for argument in func._schema.arguments:
            if argument.alias_info is not None and argument.alias_info.is_write:
                for tensor in _tensors(named.get(argument.name)):
                    self.before.setdefault(tensor.untyped_storage().data_ptr(), _kept(tensor))
        return func(*args, **kwargs)

    def put_back(self) -> None:
        """As capturing runs nothing: undo every change."""
        with torch.no_grad():
            for storage, kept in self.before.values():
                storage.copy_(kept)


class OnCPU:
    """What `CudaGraphs` takes in place of a device."""

    def run(self, code):
        return code()

    def capture(self, code):
        recording, keeper = Recording(), Keeper()
        with keeper, recording:
            code()
        keeper.put_back()
        return recording.replay


def _kept(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """The whole memory that a tensor lies in, and a copy of it."""
    flat = torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage())
    return flat, flat.clone()
