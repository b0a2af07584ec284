"""What the checks share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from t2ikit.config.validation import validate
from t2ikit.errors import UserError
from t2ikit.registry.registry import Entry, Registry
from t2ikit.registry.specs import SINGULAR, Context

TEXT_WIDTH, TEXT_LENGTH = 16, 8


class Unbuildable(AssertionError):
    """A part says that it cannot be had with these options, or on this machine."""


def require(holds: bool, sentence: str) -> None:
    """Raise AssertionError with `sentence` unless it holds."""
    if not holds:
        raise AssertionError(sentence)


@contextmanager
def explained(sentence: str) -> Iterator[None]:
    """Turn whatever is raised inside into an AssertionError that begins with `sentence`."""
    try:
        yield
    except AssertionError:
        raise
    except Exception as error:
        raise AssertionError(f"{sentence}: {type(error).__name__}: {error}") from error


@dataclass(frozen=True)
class Subject:
    """The part that is being checked: its registry entry, its checked config, and what it is called."""

    entry: Entry
    config: Any
    registry: Registry

    @property
    def title(self) -> str:
        """`loss mine/huber`, for messages."""
        return f"{SINGULAR[self.entry.spec.kind]} {self.entry.canonical}"

    def build(self, image_size: int | None = None, seed: int = 0) -> Any:
        """Build the part; without an image size, with None for a context.

        Args:
            image_size: pixels.
            seed: of torch's global generator; that of the context is always 0.
        """
        context = None if image_size is None else replace(toy_context(image_size), registry=self.registry)
        with explained(f"{self.title} cannot be built"), seeded(seed):
            try:
                return self.entry.spec.build(self.config, context)
            except UserError as error:
                raise Unbuildable(f"{self.title} cannot be built: {error}") from error


def subject(kind: str, name: str, registry: Registry | None, config: dict[str, Any]) -> Subject:
    """Look a part up and check its config."""
    registry = registry or Registry.load()
    try:
        entry = registry.find(kind, name)
        checked = validate(entry.spec.config, config, where=f"{SINGULAR[kind]} {entry.canonical}")
    except UserError as error:
        raise Unbuildable(str(error)) from error
    return Subject(entry, checked, registry)


def reload(part: Subject, image_size: int, trained: nn.Module) -> Any:
    """The part built anew from another seed, with what is saved of the `trained` one: a run that goes on.

    Raises:
        AssertionError: one does not take what the other saves.
    """
    fresh = part.build(image_size, seed=7)
    with explained(f"{part.title} does not load what it saves"):
        fresh.load_state_dict(trained.state_dict())
    return fresh


@torch.no_grad()
def shake(model: nn.Module) -> None:
    """Move every parameter a little, as training would: an output that begins at 0 shows nothing else."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator).to(parameter))


def toy_context(image_size: int) -> Context:
    """The context of the toy models: 16 wide, 8 tokens long text on the CPU."""
    return Context(image_size, TEXT_WIDTH, TEXT_LENGTH, torch.device("cpu"), 0)


@contextmanager
def seeded(seed: int = 0) -> Iterator[None]:
    """Torch's global generator at `seed`, put back afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def close(a: Tensor, b: Tensor, tolerance: float) -> bool:
    """Whether two tensors agree to `tolerance`, relative to the greatest entry where that is above 1."""
    scale = max(1.0, float(b.detach().abs().max()))
    return a.shape == b.shape and float((a - b).detach().abs().max()) <= tolerance * scale


def finite(*tensors: Tensor) -> bool:
    """Whether there is neither infinity nor NaN."""
    return all(bool(tensor.isfinite().all()) for tensor in tensors)
