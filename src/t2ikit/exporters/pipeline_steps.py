"""Between the steps of a pipeline's sampler: the progress bar, and a function of the caller's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from diffusers.callbacks import MultiPipelineCallbacks, PipelineCallback
from torch import Tensor

from t2ikit.core.interfaces import Sampler
from t2ikit.exporters.pipeline_calls import unsupported
from t2ikit.sampling.denoising import DenoiserSampler, StepHook
from t2ikit.sampling.images import Progress

IMAGES = "latents"
"""What diffusers calls the noisy images after a step."""
StepCallback = Callable[[Any, int, Tensor, dict[str, Tensor]], Mapping[str, Tensor] | None]
"""Called with the pipeline, the step from 0, the timestep, and the tensors that were asked for."""


def call_between_steps(
    pipeline: Any, sampler: Sampler, callback: StepCallback | None, names: Sequence[str]
) -> None:
    """Let a sampler call the caller's function after each step, as diffusers' pipelines do.

    It is called with the pipeline, the step from 0, the timestep, and a dict of `latents`, the noisy images
    (B, C, H, W). It may return the dict with other images, or set the pipeline's `_interrupt`, which ends
    sampling there.

    Args:
        pipeline: of the call.
        sampler: of the call.
        callback: the function; None: nothing is called.
        names: of the tensors that it takes, "latents" or none, unless it names them itself.

    Raises:
        NotImplementedError: the sampler has no steps.
        ValueError: a tensor that there is not, or what is no function.
    """
    if callback is None:
        return
    if not callable(callback):
        raise ValueError(f"callback_on_step_end={callback!r}: this option takes a function")
    if isinstance(callback, PipelineCallback | MultiPipelineCallbacks):
        names = callback.tensor_inputs
    if unknown := [name for name in names if name != IMAGES]:
        raise ValueError(
            f"callback_on_step_end_tensor_inputs: there is no {', '.join(unknown)}; only {IMAGES!r}, the "
            "noisy images"
        )
    if not isinstance(sampler, DenoiserSampler):
        raise unsupported("callback_on_step_end=", "this model makes an image in one go, without steps")
    sampler.on_step = _hook(pipeline, callback, names)


def _hook(pipeline: Any, callback: StepCallback, names: Sequence[str]) -> StepHook:
    def on_step(step: int, timestep: float, images: Tensor) -> bool:
        tensors, finite = {IMAGES: images} if names else {}, _is_finite(images)
        returned = callback(pipeline, step, torch.tensor(timestep), tensors)
        if not isinstance(returned, Mapping | None):
            raise ValueError(
                f"callback_on_step_end must return a dict or nothing, not {type(returned).__name__}"
            )
        changed = (returned or {}).get(IMAGES)
        if changed is not None and changed is not images:
            if changed.shape != images.shape:
                raise ValueError(
                    f"callback_on_step_end returned latents {tuple(changed.shape)} in place of "
                    f"{tuple(images.shape)}"
                )
            images.copy_(changed)
        if finite and not _is_finite(images):
            raise ValueError(
                f"callback_on_step_end made latents that are not finite (NaN or infinity) after step {step}; "
                "the model's were finite"
            )
        return not pipeline.interrupt

    return on_step


def _is_finite(images: Tensor) -> bool:
    return bool(images.isfinite().all())


@contextmanager
def step_bar(make: Callable[..., Any]) -> Iterator[Progress]:
    """A progress function that moves the bar of a pipeline, which is `make`, where there are steps."""
    bar: Any = None

    def progress(done: int, total: int) -> None:
        nonlocal bar
        if total == 1:
            return
        bar = make(total=total) if bar is None else bar
        bar.total = total  # fewer images at once, after memory ran out, take more steps
        bar.update(done - bar.n)

    try:
        yield progress
    finally:
        if bar is not None:
            bar.close()
