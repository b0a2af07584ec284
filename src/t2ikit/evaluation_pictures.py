"""The pictures that an evaluation measures: drawn ones, real ones beside them, and what drawing cost."""

from __future__ import annotations

import contextlib
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console
from torch import Tensor

from t2ikit.compose import Model
from t2ikit.given import small_pictures
from t2ikit.interfaces import Dataset, Denoiser, Drawn
from t2ikit.progress import counting
from t2ikit.sampling.draw import sample

if TYPE_CHECKING:
    from t2ikit.evaluating import Question

MOST_TRAINING = 4096
"""Training pictures that are looked through for the nearest, evenly chosen from all."""
MOST_VALUES = 1 << 26
"""Colour values of all of them, so that large pictures fit the memory."""


@dataclass(frozen=True)
class Pictures:
    """What drawings are compared with, as in `Drawn`."""

    dataset: Dataset
    prompts: Sequence[str]
    real: Tensor | None
    train: Tensor | None


@dataclass(frozen=True)
class Costs:
    """What drawing cost.

    Attributes:
        pictures: how many were drawn.
        seconds: for all of them.
        calls: of the network for one picture; guidance counts twice.
        device: "cpu", "cuda" or "mps".
        threads: of the CPU.
        processor: the GPU's name, or the CPU's.
    """

    pictures: int
    seconds: float
    calls: float
    device: str = ""
    threads: int = 0
    processor: str = ""


def reference(
    dataset: Dataset, prompts: Sequence[str], seed: int, trained_on: Dataset | None = None
) -> Pictures:
    """Real pictures of the prompts, and pictures of the data that the run was trained on, if it is known."""
    found = dataset.pictures(prompts, seed)
    real = None if found is None else _scaled(torch.stack(found))
    return Pictures(dataset, prompts, real, _training_pictures(trained_on))


def _training_pictures(dataset: Dataset | None) -> Tensor | None:
    if dataset is None or not dataset.indexed_training:
        return None
    size = dataset.size("train")
    count = max(1, min(size, MOST_TRAINING, MOST_VALUES // dataset.record("train", 0).image.numel()))
    return _scaled(torch.stack([dataset.record("train", i * size // count).image for i in range(count)]))


def _scaled(images: Tensor) -> Tensor:
    return images.float() / 127.5 - 1


def as_saved(images: Tensor) -> Tensor:
    """Pictures in [-1, 1] as an 8-bit file gives them back."""
    return ((images + 1) * 127.5).nan_to_num(0.0).round().clamp(0, 255) / 127.5 - 1


def draw_all(model: Model, beside: Pictures, question: Question, call: dict[str, Any]) -> Drawn:
    """One picture for each prompt and `copies` more for the first `again` of them."""
    few, copies = question.again, question.copies
    given = small_pictures(model.generator, beside.real)
    with counting("drawing") as progress:
        images = sample(model, beside.prompts, seed=question.seed, progress=progress, low_res=given, **call)
    again = None
    if few and copies:
        again_of = None if given is None else given[:few].repeat_interleave(copies, 0)
        numbers, prompts = range(1, copies + 1), beside.prompts[:few]
        more = sample(model, prompts, samples=numbers, seed=question.seed, low_res=again_of, **call)
        again = as_saved(more).unflatten(0, (few, copies))
    return Drawn(as_saved(images), beside.prompts, beside.dataset, beside.real, again, beside.train, given)


def telling(what: str) -> None:
    """Say on a terminal what is being done."""
    console = Console(stderr=True)
    if console.is_terminal:
        console.print(what, markup=False, highlight=False)


@contextlib.contextmanager
def costs(model: Model, pictures: int) -> Iterator[Callable[[], Costs]]:
    """Count seconds and calls of the network between entering and leaving; what is yielded tells them after.

    Args:
        model: whose generator's calls count.
        pictures: how many are drawn meanwhile.
    """
    generator, device = model.generator, model.context.device
    name = "denoise" if isinstance(generator, Denoiser) else "generate"
    inner = getattr(generator, name)
    rows, seconds = 0, 0.0

    def counted(first: Any, *args: Any, **options: Any) -> Any:
        nonlocal rows
        rows += len(first)
        return inner(first, *args, **options)

    def spent() -> Costs:
        machine = (device.type, torch.get_num_threads(), processor(device))
        return Costs(pictures, seconds, rows / pictures, *machine)

    generator.__dict__[name] = counted  # before the method of its class
    began = time.perf_counter()
    try:
        yield spent
    finally:
        seconds = time.perf_counter() - began
        del generator.__dict__[name]


def processor(device: torch.device) -> str:
    """The GPU's name, or the CPU's as far as the system tells it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    known = Path("/proc/cpuinfo")
    lines = known.read_text(encoding="utf-8").splitlines() if known.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
