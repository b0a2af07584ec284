"""How every row is measured: the same captions, the same reader, the same distance."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from equal.contestants import Sample
from equal.task import Task
from t2ikit import ImageSet
from t2ikit.metrics.prompt_accuracy import PromptAccuracy
from t2ikit.metrics.selection import select_metrics
from t2ikit.registry.registry import Registry
from t2ikit.utils.images import as_saved
from t2ikit.utils.progress import progress_bar

CHUNK = 64
"""Images sampled at once."""
SHOWN = ("joint", "colour", "species", "action", "eyes")


def drawn(sample: Sample, prompts: Sequence[str], guidance: float, steps: int, seed: int) -> Tensor:
    """Images (N, 3, H, W) as their PNG files would hold them; what is no number becomes grey."""
    torch.manual_seed(seed)
    chunks = [prompts[start : start + CHUNK] for start in range(0, len(prompts), CHUNK)]
    images = []
    with progress_bar("sampling") as progress:
        for number, chunk in enumerate(chunks, 1):
            images.append(sample(chunk, guidance, steps))
            progress(number, len(chunks))
    return as_saved(torch.cat(images).nan_to_num(0.0, 0.0, 0.0).clamp(-1, 1))


def joint(task: Task, images: Tensor, prompts: Sequence[str]) -> float:
    """Per cent of prompts followed in everything they name."""
    return PromptAccuracy()(ImageSet(images, prompts, task.dataset))["joint"].value


def measured(
    task: Task, sample: Sample, n: int, guidance: float, steps: int, documented: int
) -> dict[str, Any]:
    """Accuracy and kernel distance on `n` captions that were never drawn, and the seconds an image takes.

    Args:
        task: whose captions.
        sample: what is measured.
        n: captions.
        guidance, steps: that it samples with.
        documented: the steps whose seconds are given; 0: those that it has.
    """
    prompts = task.prompts(n)
    drawn(sample, prompts[:CHUNK], guidance, min(2, steps), task.seed)  # what is compiled or cached is there
    began = time.perf_counter()
    images = drawn(sample, prompts, guidance, steps, task.seed)
    seconds = (time.perf_counter() - began) / len(prompts)
    image_set = ImageSet(images, prompts, task.dataset, task.real(prompts))
    found: dict[str, Any] = {}
    for metric in select_metrics(Registry.load(), ["prompt-accuracy", "reader-distance"], {}).values():
        for name, one in metric.measure(image_set).items():
            found[name] = {"value": one.value, "low": one.low, "high": one.high}
    kept = {name: found[name] for name in (*SHOWN, "kd-reader")}
    whole = seconds * documented / steps if documented else seconds
    return {
        "n": len(prompts),
        "seconds_an_image": whole,
        "steps_sampled": steps if documented else None,
        **kept,
    }
