"""What sampling cost: seconds, and function evaluations of the networks."""

from __future__ import annotations

import contextlib
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from t2ikit.recipes.compose import Model


@dataclass(frozen=True)
class Costs:
    """What sampling cost. The names are the keys of `evaluation.json`.

    Attributes:
        images: how many were sampled.
        seconds: for all of them.
        calls: function evaluations of the networks for one image, guidance counting twice; None where a
            sampler does not report them.
        device: "cpu", "cuda" or "mps".
        threads: of the CPU.
        processor: the GPU's name, or the CPU's.
    """

    images: int
    seconds: float
    calls: float | None
    device: str = ""
    threads: int = 0
    processor: str = ""


@contextlib.contextmanager
def measure_costs(model: Model, images: int, stages: Sequence[Model] = ()) -> Iterator[Callable[[], Costs]]:
    """Measure what sampling costs between entering and leaving; what is yielded returns it afterwards.

    Args:
        model: what samples.
        images: how many are sampled meanwhile.
        stages: models of super-resolution that upscale the images.
    """

    def evaluations() -> list[int]:
        return [getattr(one.sampler, "function_evaluations", 0) for one in (model, *stages)]

    before, seconds = evaluations(), 0.0

    def spent() -> Costs:
        counts = [after - start for start, after in zip(before, evaluations())]
        calls = sum(counts) / images if all(counts) else None
        device = model.context.device
        return Costs(images, seconds, calls, device.type, torch.get_num_threads(), processor(device))

    began = time.perf_counter()
    try:
        yield spent
    finally:
        seconds = time.perf_counter() - began


def processor(device: torch.device) -> str:
    """The GPU's name, or the CPU's as far as the system names it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    known = Path("/proc/cpuinfo")
    lines = known.read_text(encoding="utf-8").splitlines() if known.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
