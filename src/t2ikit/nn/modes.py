"""Evaluation mode for a while."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def eval_mode(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Put modules into evaluation mode inside; afterwards each submodule is as it was.

    A frozen teacher that was built in evaluation mode stays in it, which `module.train()` would undo.
    """
    modules = list(modules)
    flags = {part: part.training for module in modules for part in module.modules()}
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for part, training in flags.items():
            part.training = training
