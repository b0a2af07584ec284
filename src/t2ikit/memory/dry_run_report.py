"""What a dry run says of a training: a label and a sentence each."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from t2ikit.core.shapes import shown
from t2ikit.memory.report import size
from t2ikit.recipes.compose import Components
from t2ikit.recipes.recipe import Recipe
from t2ikit.training.trainer import Trainer
from t2ikit.utils.files import cache_folder


@dataclass(frozen=True)
class DryRun:
    """What a training would do.

    Attributes:
        rows: a label and a sentence each, for a person.
        seconds_a_step: measured.
        steps: left to do; of a timed run an estimate.
        memory: bytes at the peak of a step; None where that cannot be predicted.
        parameters: that are trained.
    """

    rows: tuple[tuple[str, str], ...]
    seconds_a_step: float
    steps: int
    memory: int | None
    parameters: int


def data(components: Components, recipe: Recipe) -> str:
    """How many images there are to train on."""
    dataset, data = components.dataset, recipe.parts["data"].config
    train = f"{dataset.size('train'):,}" if dataset.indexed_training else "a stream of"
    images = f"{train} training and {dataset.size('validation'):,} validation images"
    return f"{data.spec}: {images} of {', '.join(map(shown, data.image_shapes))} pixels"


def parts(recipe: Recipe) -> str:
    """The parts that are trained, and the losses."""
    parts = [recipe.parts["generator"], *recipe.critics.values()]
    names = dict.fromkeys(part.entry.canonical for part in parts)
    return f"{', '.join(names)}; losses {', '.join(recipe.losses)}"


def steps(recipe: Recipe, trainer: Trainer, done: int, steps: int) -> str:
    """How many steps are taken, on how many images each."""
    at_once = f"{trainer.micro_batch} at once on each of {trainer.accelerator.num_processes} devices"
    if trainer.accelerator.num_processes == 1:
        at_once = f"{trainer.micro_batch} at once"
    length = f"about {steps:,} in {recipe.train.minutes:g} minutes" if recipe.train.minutes else f"{steps:,}"
    start = f", from step {done} on" if done else ""
    return f"{length}{start}, of {recipe.train.batch} images each ({at_once})"


def time(seconds: float, steps: int, recipe: Recipe, trainer: Trainer) -> str:
    """How long the steps take."""
    device, images = trainer.accelerator.device, recipe.train.batch / seconds
    precision = {"no": "fp32"}.get(recipe.train.precision, recipe.train.precision)
    return (
        f"about {duration(seconds * steps)} for the steps ({seconds:.3g} s a step, {images:.3g} images/s on "
        f"{device} in {precision}); encoding captions, validation, sample grids and checkpoints come on top"
    )


def busy(cores: float) -> str:
    """That other programs slowed what was timed."""
    return (
        f"other programs took {cores:.1f} of {os.cpu_count()} CPU cores while this was timed: "
        "training takes less time without them"
    )


def duration(seconds: float) -> str:
    """A length of time in words."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.2g} s" if seconds < 10 else f"{rest} s"


def cached_files(recipe: Recipe) -> dict[Path, int]:
    """The files of the cache and the bytes they take on disk; empty rows of drawings take none."""
    chosen = [getattr(recipe.parts[name].config, "cache", None) for name in ("data", "text")]
    folders = {cache_folder(one) for one in chosen}
    return {
        Path(base) / name: _bytes_on_disk(os.stat(Path(base) / name))
        for folder in folders
        for base, _, names in os.walk(folder)
        for name in names
        if not name.endswith(".lock") and (Path(base) / name).is_file()
    }


def _bytes_on_disk(found: os.stat_result) -> int:
    blocks: int | None = getattr(found, "st_blocks", None)  # which Windows has not
    return found.st_size if blocks is None else 512 * blocks


def written(before: dict[Path, int], after: dict[Path, int]) -> str:
    """What the dry run wrote: nothing, or files of the cache."""
    new = sorted(path for path in after if after[path] != before.get(path))
    if not new:
        return "nothing"
    folders = ", ".join(sorted({str(path.parent) for path in new}))
    return f"no run; {size(sum(after[path] for path in new))} in the cache {folders}, where training finds it"
