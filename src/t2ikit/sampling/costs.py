"""What sampling cost: seconds, and evaluations of the network."""

from __future__ import annotations

import contextlib
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from t2ikit.core.interfaces import Denoiser, Generator
from t2ikit.recipes.compose import Model


@dataclass(frozen=True)
class Costs:
    """What drawing cost.

    Attributes:
        images: how many were drawn.
        seconds: for all of them.
        calls: of the network for one image; guidance counts twice.
        device: "cpu", "cuda" or "mps".
        threads: of the CPU.
        processor: the GPU's name, or the CPU's.
    """

    images: int
    seconds: float
    calls: float
    device: str = ""
    threads: int = 0
    processor: str = ""


@contextlib.contextmanager
def costs(model: Model, images: int, stages: Sequence[Model] = ()) -> Iterator[Callable[[], Costs]]:
    """Count seconds and calls of the network between entering and leaving; what is yielded tells them after.

    Args:
        model: whose generator's calls count.
        images: how many are drawn meanwhile.
        stages: of super-resolution, whose generators' calls count, too.
    """
    rows, seconds = [0], 0.0

    def spent() -> Costs:
        device = model.context.device
        machine = (device.type, torch.get_num_threads(), processor(device))
        return Costs(images, seconds, rows[0] / images, *machine)

    with contextlib.ExitStack() as counters:
        for one in (model, *stages):
            counters.enter_context(_counted(one.generator, rows))
        began = time.perf_counter()
        try:
            yield spent
        finally:
            seconds = time.perf_counter() - began


@contextlib.contextmanager
def _counted(generator: Generator, rows: list[int]) -> Iterator[None]:
    """Add the samples that the generator is called with to `rows`."""
    name = "denoise" if isinstance(generator, Denoiser) else "generate"
    inner = getattr(generator, name)

    def counted(first: Any, *args: Any, **options: Any) -> Any:
        rows[0] += len(first)
        return inner(first, *args, **options)

    generator.__dict__[name] = counted  # before the method of its class
    try:
        yield
    finally:
        del generator.__dict__[name]


def processor(device: torch.device) -> str:
    """The GPU's name, or the CPU's as far as the system tells it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    known = Path("/proc/cpuinfo")
    lines = known.read_text(encoding="utf-8").splitlines() if known.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
