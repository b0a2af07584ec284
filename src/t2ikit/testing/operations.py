"""What a piece of code has PyTorch do: operations counted by name, and waits for a device refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

WAITS = frozenset({"_local_scalar_dense", "nonzero", "nonzero_numpy", "masked_select", "is_nonzero", "equal"})
"""Operations in aten for which the host waits."""
_LAUNCH_NOTHING = frozenset(
    {
        "_unsafe_view",
        "detach",
        "alias",
        "lift_fresh",
        "empty",
        "empty_like",
        "empty_strided",
        "new_empty",
        "new_empty_strided",
    }
)


class CountedOperations(TorchDispatchMode):
    """Counts the operations in a `with` block that a device would launch; views and empty tensors are none.

    An operation over a list of tensors (`torch._foreach_*`) counts as one, though a device may take a few
    launches for it.

    Attributes:
        counts: of each operation, by its name in aten.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    @property
    def total(self) -> int:
        """How many in all."""
        return sum(self.counts.values())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count one, and do it."""
        name = _name(func)
        if not (func.is_view or name in _LAUNCH_NOTHING or name.startswith("_record_function")):
            self.counts[name] += 1
        return func(*args, **(kwargs or {}))


class NoWaiting(TorchDispatchMode):
    """Fails inside a `with` block where the host would wait for a device or read from it, on a CPU as well.

    These are: a number read from a tensor (`.item()`, `float()`, `if tensor:`), what has as many elements as
    values tell (`nonzero`, indexing with booleans), a comparison of whole tensors (`torch.equal`), and copies
    from a device to the host. On a CPU no tensor tells whether a copy would leave the device.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Refuse what waits, do the rest.

        Raises:
            AssertionError: naming the operation.
        """
        name = _name(func)
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if name in WAITS or (name.startswith("index") and any(_selects(args))):
            raise AssertionError(f"{name} waits for the device, on tensors of {_shapes(given)}")
        result = func(*args, **(kwargs or {}))
        if _from_device(name, given, result):
            raise AssertionError(f"{name} copies a tensor of {_shapes(given[:1])} to the host")
        return result


def _name(func: Any) -> str:
    return str(func.overloadpacket.__name__)


def _shapes(tensors: list[Tensor]) -> str:
    return ", ".join(str(tuple(tensor.shape)) for tensor in tensors) or "no shape"


def _selects(args: Any) -> Iterator[bool]:
    """Whether an index is of booleans, whose number of trues is the number of elements."""
    for index in args[1] if len(args) > 1 and isinstance(args[1], (list, tuple)) else ():
        yield isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8)


def _from_device(name: str, given: list[Tensor], result: Any) -> bool:
    if name not in {"_to_copy", "copy_"} or not isinstance(result, Tensor):
        return False
    return result.device.type == "cpu" and any(t.device.type not in ("cpu", "meta") for t in given)
