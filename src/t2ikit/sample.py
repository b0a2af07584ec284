"""Prompts to pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from t2ikit.batch import Condition, Draws, mix
from t2ikit.compose import Model

Progress = Callable[[int, int], None]


def condition_for(model: Model, prompts: Sequence[str]) -> Condition:
    """Encode prompts, on the model's device."""
    text = model.encoder.encode([*prompts, ""])
    condition = Condition(tuple(prompts), text[: len(prompts)], text[len(prompts) :])
    return condition.to(model.context.device)


def autocast(model: Model) -> AbstractContextManager[object]:
    """The precision the model was trained in, where the device has it."""
    precision, device = model.recipe.train.precision, model.context.device.type
    if precision == "no" or (precision == "fp16" and device == "cpu"):
        return nullcontext()
    return torch.autocast(device, torch.bfloat16 if precision == "bf16" else torch.float16)


@torch.no_grad()
def sample(
    model: Model,
    prompts: Sequence[str],
    *,
    samples: Sequence[int] = (0,),
    seed: int = 0,
    steps: int | None = None,
    guidance: float | None = None,
    batch: int = 64,
    progress: Progress | None = None,
) -> Tensor:
    """Draw pictures, on the CPU.

    A picture depends on (seed, prompt, sample number) and the settings, not on what else is drawn, but
    for rounding that differs with the size of a call.

    Args:
        model: a generator with its encoder and sampler.
        prompts: P captions.
        samples: S sample numbers, one picture of each prompt for each.
        seed: what the noise is drawn from.
        steps, guidance: of the sampler; None takes the sampler's own.
        batch: pictures at once.
        progress: called with (sampler steps done, in all).

    Returns:
        (P * S, 3, H, W) in [-1, 1], all samples of the first prompt first.
    """
    wanted = [(prompt, number) for prompt in prompts for number in samples]
    keys = torch.tensor([mix(seed, prompt, number) for prompt, number in wanted])
    starts = range(0, len(wanted), batch)
    pictures = []
    for place, start in enumerate(starts):
        chunk = slice(start, start + batch)
        condition = condition_for(model, [prompt for prompt, _ in wanted[chunk]])
        draws = Draws(keys[chunk], "sample", model.context.device)
        with autocast(model):
            images = model.sampler(
                model.generator,
                condition,
                steps=steps,
                guidance=guidance,
                draws=draws,
                progress=chunk_progress(progress, place, len(starts)),
            )
        pictures.append(images.float().clamp(-1, 1).cpu())
    return torch.cat(pictures)


def chunk_progress(progress: Progress | None, place: int, chunks: int) -> Progress | None:
    """Progress within one chunk as progress over all of them."""
    if progress is None:
        return None
    return lambda done, total: progress(place * total + done, chunks * total)
