"""`t2ikit train --memory 12GB`: micro-batch and checkpointing with which a step fits into a memory."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from t2ikit.data.feed.resident import limited
from t2ikit.errors import UserError, option
from t2ikit.memory.beside import CONTEXT
from t2ikit.memory.forecast import Forecast, forecast
from t2ikit.recipes.recipe import Recipe
from t2ikit.recipes.settings import Plugins, Settings
from t2ikit.registry.registry import Registry
from t2ikit.runs.open import as_run
from t2ikit.runs.run import Run
from t2ikit.training.start import resumed_recipe
from t2ikit.training.train import check_options, new_training, registry_for, run_folder, training_settings
from t2ikit.utils.devices import find_device
from t2ikit.utils.progress import phase

SPARE = 0.08
"""The share of the memory that is left free: forecasts are about right, and allocators waste some."""
WORTH = 2
"""How many times as many images checkpointing must let through at once, for a third more computing."""
UNITS = {"mb": 10**6, "mib": 2**20, "gb": 10**9, "gib": 2**30}

Read = Callable[[Sequence[str]], Recipe]
"""From settings, laid over what was asked for, to the recipe."""


@dataclass(frozen=True)
class Fitted:
    """How a training fits into a memory.

    Attributes:
        memory: bytes.
        settings: to be laid over the recipe.
        checkpointing: whether activations are computed anew in the backward pass.
        forecast: of a step with them.
    """

    memory: int
    settings: tuple[str, ...]
    checkpointing: bool
    forecast: Forecast

    def describe(self) -> str:
        """What was chosen, in a line."""
        found = self.forecast
        anew = ", checkpointing on" if self.checkpointing else ""
        return (
            f"memory: {gigabytes(self.memory)}: micro-batch {found.micro_batch} of {found.batch}{anew}: "
            f"about {gigabytes(found.total)} at the peak"
        )


def gigabytes(count: int) -> str:
    """Bytes as people say them."""
    return f"{count / 1e9:.3g} GB"


def parse_memory(text: str) -> int:
    """Bytes of a size such as 12GB, 11.5GiB or 8000MB.

    Raises:
        UserError: it is none.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*", text.lower())
    count = int(float(match[1]) * UNITS[match[2]]) if match and match[2] in UNITS else 0
    if not count:
        raise UserError(
            f"{option('memory')}: this is no size of a memory",
            expected="a number with MB, MiB, GB or GiB, such as 12GB",
            got=text,
            fix=f"{option('memory')} 12GB",
        )
    return count


def fit_training(
    plugin: Plugins = (),
    *,
    memory: str,
    recipe: str | Path | None = None,
    data: str | Path | Sequence[str | Path] | None = None,
    set: Settings = None,
    out: str | Path | None = None,
    seed: int | None = None,
    minutes: float | None = None,
    resume: Run | str | Path | None = None,
    init: Run | str | Path | None = None,
    init_partial: bool = False,
) -> Fitted:
    """How `t2ikit.train` with the same arguments fits into the memory of one GPU.

    Of a run that goes on, only the micro-batch can change.

    Raises:
        UserError: the memory is none, nothing fits into it, or the training cannot work.
    """
    count = parse_memory(memory)
    _check_alone()
    check_options(resume, recipe=recipe, data=data, out=out, seed=seed, init=init)
    settings = training_settings(set, seed, minutes)
    begins = None if init is None else as_run(init)

    def read(more: Sequence[str]) -> Recipe:
        if resume is not None:
            return resumed_recipe(registry, run_folder(resume), [*settings, *more])[1]
        return new_training(plugin, recipe, data, [*settings, *more], begins, init_partial)[1]

    registry = registry_for(plugin, begins if resume is None else resume)
    with phase(f"fitting into {gigabytes(count)}"):
        return fit(read, registry, count, resumed=resume is not None)


def _check_alone() -> None:
    """Refuse several processes: the forecast is of one."""
    processes = os.environ.get("WORLD_SIZE", "1")
    if processes != "1":
        raise UserError(
            f"{option('memory')} fits the training of one process",
            expected="one process",
            got=f"{processes} processes",
            fix="leave it out, and set train.micro_batch",
        )


def fit(read: Read, registry: Registry, memory: int, *, resumed: bool = False) -> Fitted:
    """The largest micro-batch that fits, with checkpointing where nothing fits without or it is then doubled.

    It is no larger than the recipe's own.

    Args:
        read: gives the recipe.
        registry: that it is read with.
        memory: bytes of the GPU.
        resumed: only the micro-batch can change.

    Raises:
        UserError: nothing fits.
    """
    recipe = read([])
    switches = [] if resumed else _switches(recipe)
    plain = _largest(read, registry, memory, [])
    whole = plain is not None and plain.micro_batch == _sizes(recipe)[0]
    anew = _largest(read, registry, memory, switches) if switches and not whole else None
    better = anew is not None and (plain is None or anew.micro_batch >= WORTH * plain.micro_batch)
    found = anew if better else plain
    if found is None:
        raise _too_small(read, registry, memory, switches)
    settings = [*(switches if better else []), f"train.micro_batch={found.micro_batch}"]
    return Fitted(memory, tuple(settings), bool(better), found)


def _switches(recipe: Recipe) -> list[str]:
    """The settings that turn on checkpointing wherever it is off."""
    parts = {"generator": recipe.parts["generator"]}
    parts |= {f"critics.{name}": critic for name, critic in recipe.critics.items()}
    return [
        f"{name}.checkpointing=true"
        for name, part in parts.items()
        if getattr(part.config, "checkpointing", None) is False
    ]


def _sizes(recipe: Recipe) -> list[int]:
    """Micro-batches that cut the batch into parts of about one size, largest first."""
    train = recipe.train
    most = min(train.micro_batch or train.batch, train.batch)
    sizes = {-(-train.batch // parts) for parts in range(1, train.batch + 1)}
    return sorted((size for size in sizes | {most} if size <= most), reverse=True)


def _forecast(read: Read, registry: Registry, settings: Sequence[str], size: int) -> Forecast:
    return forecast(read([*settings, f"train.micro_batch={size}"]), registry)


def _largest(read: Read, registry: Registry, memory: int, settings: Sequence[str]) -> Forecast | None:
    """The forecast of the largest micro-batch that fits; None if not even 1 does.

    The peak is the greatest of several moments, each linear in the micro-batch, so it is nowhere above the
    straight line between two sizes: what fits by that line fits.
    """
    sizes, limit = _sizes(read(settings)), (1 - SPARE) * memory
    most = _forecast(read, registry, settings, sizes[0])
    if most.total <= limit:
        return most
    least = _forecast(read, registry, settings, sizes[-1])
    if least.total > limit:
        return None
    slope = (most.total - least.total) / max(1, sizes[0] - sizes[-1])
    for size in sizes[1:-1]:
        if least.total + slope * (size - sizes[-1]) <= limit:
            found = _forecast(read, registry, settings, size)
            if found.total <= limit:
                return found
    return least


def _too_small(read: Read, registry: Registry, memory: int, switches: Sequence[str]) -> UserError:
    least = _forecast(read, registry, switches, 1).total
    needed = int(least / (1 - SPARE) / 1e8) + 1  # tenths of a GB
    return UserError(
        f"{option('memory')}: no step of this training fits into {gigabytes(memory)}",
        expected=f"at least {needed / 10:g}GB: one image at once{', with checkpointing' if switches else ''}",
        got=gigabytes(memory),
        fix=f"{option('memory')} {needed / 10:g}GB, smaller images (data.size) or a smaller generator",
    )


@contextmanager
def capped(fitted: Fitted, device: str) -> Iterator[None]:
    """Meanwhile, take no more of a GPU than that: a forecast that was wrong halves the micro-batch."""
    spare = fitted.memory - fitted.forecast.total
    where = find_device(device)
    with limited(spare):
        if where.type != "cuda":
            yield
            return
        total = torch.cuda.get_device_properties(where).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, (fitted.memory - CONTEXT) / total), where)
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0, where)
