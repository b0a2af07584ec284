"""Devices, precision and processes, through accelerate."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import (
    DistributedDataParallelKwargs,
    DistributedType,
    GradientAccumulationPlugin,
    gather_object,
)
from torch import nn

from t2ikit.core.interfaces import StreamingDataset
from t2ikit.core.precision import choose_precision, use_tf32
from t2ikit.data.feed.batches import BatchMaker, CaptionFeatures, Feed
from t2ikit.data.feed.resident import ResidentImages, stays_on_device
from t2ikit.data.loader import BatchLoader, StreamLoader
from t2ikit.data.workers import resolve_workers, usable_cores
from t2ikit.errors import UserError
from t2ikit.nn.layout import use_channels_last
from t2ikit.recipes.compose import Components
from t2ikit.recipes.recipe import Recipe
from t2ikit.recipes.schema import TrainConfig
from t2ikit.training.trainer import Trainer
from t2ikit.utils.devices import cpu_has_bf16, find_device


def make_accelerator(config: TrainConfig, device: str, *, lazy_parameters: bool) -> Accelerator:
    """An accelerator for the device and precision asked for.

    Args:
        config: the recipe's `[train]`.
        device: auto, cpu, cuda or mps.
        lazy_parameters: whether some trained parameters get no gradient at some steps.

    Raises:
        UserError: the device or the precision is not to be had here.
    """
    wanted = find_device(device)
    precision = choose_precision(config.precision, wanted, alone=int(os.environ.get("WORLD_SIZE", 1)) == 1)
    if wanted.type == "cuda":
        use_tf32(precision != "no")
    # An earlier run of this Python process may have had another precision or device.
    connected = torch.distributed.is_available() and torch.distributed.is_initialized()
    AcceleratorState._reset_state(reset_partial_state=not connected)
    try:
        accelerator = Accelerator(
            cpu=wanted.type == "cpu",
            mixed_precision=precision,
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
            dynamo_backend="no",
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=lazy_parameters)],
        )
    except ValueError as error:
        raise UserError(
            f"train.precision: {config.precision} does not work on this device",
            expected="no (fp32) or bf16",
            got=error,
            fix="--set train.precision=no",
        ) from error
    _check_processes(config, accelerator)
    return accelerator


def in_precision(recipe: Recipe, precision: str) -> Recipe:
    """The recipe with the precision that "auto" comes to."""
    return replace(recipe, train=recipe.train.model_copy(update={"precision": precision}))


def lay_out(modules: Iterable[nn.Module], accelerator: Accelerator) -> None:
    """Lay convolutions out with channels last where that is faster: on CUDA, and in a CPU's own bf16."""
    device = accelerator.device.type
    if device == "cuda" or (device == "cpu" and accelerator.mixed_precision == "bf16" and cpu_has_bf16()):
        for module in modules:
            use_channels_last(module)


def describe_precision(accelerator: Accelerator) -> str:
    """The precision that was chosen, in words."""
    chosen = str(accelerator.mixed_precision)
    rest = ", and TF32 for what stays fp32" if accelerator.device.type == "cuda" and chosen != "no" else ""
    return f"train.precision: {'fp32' if chosen == 'no' else chosen}{rest}"


def _check_processes(config: TrainConfig, accelerator: Accelerator) -> None:
    """Refuse ways to distribute that this loop does not know, and batches that cannot be shared."""
    known = {DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU}
    if accelerator.distributed_type not in known:
        raise UserError(
            f"training cannot be distributed by {accelerator.distributed_type.value}",
            expected="one process, or several with plain data parallelism",
            got=accelerator.distributed_type.value,
            fix="accelerate launch --multi_gpu -m t2ikit train ...",
        )
    processes = accelerator.num_processes
    if config.batch % processes:
        raise UserError(
            f"train.batch: {config.batch} images cannot be shared by {processes} processes",
            expected=f"a multiple of {processes}",
            got=config.batch,
            fix=f"--set train.batch={processes * max(1, config.batch // processes):d}",
        )


def training_batches(components: Components, trainer: Trainer, start: int, stop: int | None) -> Feed:
    """This process's batches from step `start` to before `stop`; without end where that is None.

    Close it when no more is wanted: worker processes read ahead.

    Raises:
        UserError: the data cannot be kept on the device, as the recipe wants it.
    """
    config, accelerator, dataset = trainer.config, trainer.accelerator, components.dataset
    world, rank, device = accelerator.num_processes, accelerator.process_index, accelerator.device
    place = (config.seed, config.batch, rank, world)
    scaling = components.model.generator.super_resolution
    options: dict[str, Any] = {
        "num_workers": _num_workers(components, trainer),
        "super_resolution": scaling,
        "hard_negatives": components.model.recipe.parts["data"].config.hard_negatives,
    }
    if isinstance(dataset, StreamingDataset):
        resident, gather = None, _gather if world > 1 else None
        batches: Any = StreamLoader(dataset, *place, gather=gather, **options).steps(start, stop)
    else:
        resident, loader = resident_images(components, device), BatchLoader(dataset, *place, **options)
        shape = components.model.context.image_shape
        batches = loader.indexed_steps(shape, start, stop) if resident else loader.steps(start, stop)
    maker = BatchMaker(
        components.model.encoder,
        device,
        config.batch,
        config.batch // world,
        rank,
        super_resolution=scaling,
        resident=resident,
        features=caption_features(components, device),
    )
    return Feed(batches, maker)


def resident_images(components: Components, device: torch.device) -> ResidentImages | None:
    """Room for the training images on the device; None where they stay on the host."""
    config, dataset = components.model.recipe.parts["data"].config, components.dataset
    if not stays_on_device(config, dataset, device):
        return None
    return ResidentImages(dataset.size("train"), components.model.context.image_shape, device)


def _num_workers(components: Components, trainer: Trainer) -> int:
    accelerator = trainer.accelerator
    return resolve_workers(
        trainer.config.num_workers,
        accelerator.device.type,
        cores=usable_cores(),
        processes=int(os.environ.get("LOCAL_WORLD_SIZE", accelerator.num_processes)),
        streaming=isinstance(components.dataset, StreamingDataset),
    )


def caption_features(components: Components, device: torch.device) -> CaptionFeatures:
    """What the losses need of the captions of a step, by `caption_key`."""
    losses: list[Any] = [term.loss for term in components.losses.values()]
    reading = [loss for loss in losses if hasattr(loss, "caption_key")]
    return {loss.caption_key: partial(loss.caption_features, device=device) for loss in reading}


def _gather(captions: list[tuple[str, ...]]) -> list[list[tuple[str, ...]]]:
    """Every process's captions, by rank."""
    return [list(one) for one in gather_object([captions])]
