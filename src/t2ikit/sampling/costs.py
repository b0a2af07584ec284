"""What sampling cost: seconds, and function evaluations of the networks."""

from __future__ import annotations

import contextlib
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import AliasChoices, Field

from t2ikit.recipes.compose import Model
from t2ikit.utils.deprecation import renamed


@renamed(pictures="images")
@dataclass(frozen=True)
class Costs:
    """What sampling cost.

    Attributes:
        images: how many were sampled.
        seconds: for all of them.
        calls: function evaluations of the networks for one image, guidance counting twice; None where a
            sampler does not report them.
        device: "cpu", "cuda" or "mps".
        threads: of the CPU.
        processor: the GPU's name, or the CPU's.
    """

    images: Annotated[int, Field(validation_alias=AliasChoices("pictures", "images"))]
    seconds: float
    calls: float | None
    device: str = ""
    threads: int = 0
    processor: str = ""

    def table(self) -> dict[str, Any]:
        """As JSON can hold it, by the keys that evaluations have always had."""
        table = asdict(self)
        return {"pictures": table.pop("images"), **table}


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
