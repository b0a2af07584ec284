"""Who holds how many bytes while tensors come and go, by their shapes alone.

torch's own `MemTracker` (torch.distributed._tools.mem_tracker) counts in the same way but cannot follow a
training step here: it puts hooks on parameters, which frozen ones refuse, on modules, through which R1's
gradient inside a forward pass does not go, and takes a model's second micro-batch for another run.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, cast

from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.weak import WeakIdKeyDictionary

PARAMETERS, ACTIVATIONS = "parameters", "activations"
KINDS = (PARAMETERS, "gradients", "optimiser", "averaged weights", ACTIVATIONS)


class Ledger(TorchDispatchMode):
    """Counts the bytes of all storages that are alive, those of views once.

    Args:
        mode: the fake mode inside which it is entered.
        block: what an allocation is rounded up to, bytes.

    Attributes:
        moment: what is going on, set from outside.
        held: bytes now, by kind.
        at_peak: bytes by kind when the sum was greatest.
        at_most: the most that each kind held, at whatever time.
        peak_moment: `moment` at the peak.
    """

    def __init__(self, mode: FakeTensorMode, block: int) -> None:
        super().__init__()
        self.mode, self.block, self.moment = mode, block, ""
        self.held: Counter[str] = Counter()
        self._storages: dict[int, tuple[weakref.ref[Any], str, int]] = {}
        self._fakes = WeakIdKeyDictionary()
        self.restart()

    @property
    def total(self) -> int:
        """Bytes alive now."""
        return sum(self.held.values())

    def restart(self) -> None:
        """Forget the peak."""
        self.at_peak, self.at_most, self.peak_moment = Counter(self.held), Counter(self.held), self.moment

    def tag(self, kind: str, tensors: Iterable[Tensor]) -> None:
        """Say what tensors are, known already or not."""
        for tensor in tensors:
            self._leave(self._key(tensor))
            self._enter(tensor, kind)
        self._note()

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run an operation and count what is new."""
        args, kwargs = tree_map_only(Tensor, self._fake, (args, kwargs or {}))
        out = func(*args, **kwargs)
        tree_map_only(Tensor, self._see, out)
        self._note()
        return out

    def _fake(self, tensor: Tensor) -> Tensor:
        """A fake of a real tensor (a constant, a frozen model), always the same one."""
        if isinstance(tensor, FakeTensor):
            return tensor
        if tensor not in self._fakes:
            self._fakes[tensor] = self.mode.from_tensor(tensor)
            kind = PARAMETERS if isinstance(tensor, nn.Parameter) else ACTIVATIONS
            self._enter(self._fakes[tensor], kind)
        return cast(Tensor, self._fakes[tensor])

    def _see(self, tensor: Tensor) -> None:
        if self._key(tensor) not in self._storages:
            self._enter(tensor, ACTIVATIONS)

    @staticmethod
    def _key(tensor: Tensor) -> int:
        return tensor.untyped_storage()._cdata

    def _enter(self, tensor: Tensor, kind: str) -> None:
        storage, key = tensor.untyped_storage(), self._key(tensor)
        size = -(-storage.nbytes() // self.block) * self.block
        gone = weakref.ref(storage, lambda _: self._leave(key))
        self._storages[key] = (gone, kind, size)
        self.held[kind] += size

    def _leave(self, key: int) -> None:
        if key in self._storages:
            _, kind, size = self._storages.pop(key)
            self.held[kind] -= size

    def _note(self) -> None:
        for kind, size in self.held.items():
            self.at_most[kind] = max(self.at_most[kind], size)
        if self.total > sum(self.at_peak.values()):
            self.at_peak, self.peak_moment = Counter(self.held), self.moment
