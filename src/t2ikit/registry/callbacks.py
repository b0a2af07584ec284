"""What a caller of `t2ikit.train` wants to be told on the way. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2ikit.errors import UserError
from t2ikit.registry.hookspecs import hookimpl

if TYPE_CHECKING:
    from PIL import Image

    from t2ikit.registry.registry import Registry

METHODS = ("step_end", "images")


class _Observer:
    """A callback as a plugin's observer hooks."""

    def __init__(self, callback: Any) -> None:
        self.callback = callback

    @hookimpl
    def t2ikit_step_end(self, run: Path, step: int, scalars: dict[str, float]) -> None:
        """Tell it, if it wants to know."""
        if hasattr(self.callback, "step_end"):
            self.callback.step_end(run, step, scalars)

    @hookimpl
    def t2ikit_images(self, run: Path, step: int, prompts: list[str], images: list[Image.Image]) -> None:
        """Show it, if it wants to see."""
        if hasattr(self.callback, "images"):
            self.callback.images(run, step, prompts, images)


@contextmanager
def observing(registry: Registry, callbacks: Sequence[object]) -> Iterator[None]:
    """Within it, each callback is told what the observer hooks of plugins are.

    Args:
        registry: of the training.
        callbacks: objects with a method `step_end(run, step, scalars)`, or
            `images(run, step, prompts, images)`, or both.

    Raises:
        UserError: an object has neither.
    """
    for callback in callbacks:
        if not any(callable(getattr(callback, name, None)) for name in METHODS):
            raise UserError(
                "callbacks: an object that has nothing to call",
                expected="a method step_end(run, step, scalars) or images(run, step, prompts, images)",
                got=f"{callback!r}, of the type {type(callback).__name__}",
                fix="write a class with one of them, and give an instance of it",
            )
    observers = [_Observer(callback) for callback in callbacks]
    for observer in observers:
        registry.manager.register(observer)
    try:
        yield
    finally:
        for observer in observers:
            registry.manager.unregister(observer)
