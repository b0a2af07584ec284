"""`t2ikit train --dry-run` in code: all that training checks, and what it would take. No run is written."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from t2ikit.errors import UserError
from t2ikit.memory import dry_run_report as words
from t2ikit.memory.dry_run_report import DryRun
from t2ikit.memory.forecast import forecast
from t2ikit.memory.report import size
from t2ikit.nn.cuda_graphs import WARM_UP
from t2ikit.recipes.compose import Components, build_components
from t2ikit.recipes.recipe import Recipe
from t2ikit.recipes.settings import Plugins, Settings
from t2ikit.registry.registry import Registry
from t2ikit.runs import checkpoint as ckpt
from t2ikit.runs.create import check_free, next_run_folder
from t2ikit.runs.files import is_locked
from t2ikit.runs.run import Run
from t2ikit.training import snapshots
from t2ikit.training.accelerator import in_precision, training_batches
from t2ikit.training.sample_grids import SampleGrids
from t2ikit.training.start import Begin, check_data, check_left, make_trainer, prepare, resumed_recipe
from t2ikit.training.trackers import check_trackers
from t2ikit.training.train import (
    as_path,
    check_options,
    new_training,
    registry_for,
    run_folder,
    training_settings,
)
from t2ikit.training.trainer import Trainer
from t2ikit.training.validation import Validation
from t2ikit.utils.devices import OtherPrograms
from t2ikit.utils.files import unwritable
from t2ikit.utils.hub import nothing_downloaded

TIMED_STEPS = 3
BUSY = 0.3
"""Cores that other programs take, above which the time is said to be too long."""
PATIENCE = 30.0
"""Seconds after which no further step is timed."""


def forecast_training(
    plugin: Plugins = (),
    *,
    recipe: str | Path | None = None,
    data: str | Path | Sequence[str | Path] | None = None,
    set: Settings = None,
    out: str | Path | None = None,
    seed: int | None = None,
    device: str = "auto",
    minutes: float | None = None,
    resume: Run | str | Path | None = None,
    init: Run | str | Path | None = None,
    init_partial: bool = False,
    progress: bool = True,
) -> DryRun:
    """What `t2ikit.train` with the same arguments would do, and what it would take; no run is made.

    Raises:
        UserError: what cannot work.
    """
    check_options(resume, recipe=recipe, data=data, out=out, seed=seed, init=init)
    settings = training_settings(set, seed, minutes)
    if resume is not None:
        registry = registry_for(plugin, resume)
        return dry_resume(registry, run_folder(resume), settings=settings, device=device, progress=progress)
    with nothing_downloaded():
        registry, chosen, begin = new_training(plugin, recipe, data, settings, init, init_partial)
    return dry_run(registry, chosen, as_path(out), device=device, progress=progress, begin=begin)


def dry_run(
    registry: Registry,
    recipe: Recipe,
    out: Path | None = None,
    *,
    device: str = "auto",
    progress: bool = True,
    begin: Begin | None = None,
) -> DryRun:
    """Check that a recipe can be trained here, and forecast what it takes.

    A few steps are made for their time, with weights that are thrown away. No run folder is made. Images that
    training would decode are kept in the cache, where it finds them.

    Raises:
        UserError: what cannot work.
    """
    folder = out or next_run_folder(recipe.parts["generator"].entry.plugin)
    check_free(folder)
    _check_writable(folder)
    return _forecast(registry, recipe, device, progress, f"would be {folder}", begin=begin)


def dry_resume(
    registry: Registry,
    path: Path,
    *,
    settings: Sequence[str] = (),
    device: str = "auto",
    progress: bool = True,
) -> DryRun:
    """The same for a run that would go on; the run is left as it is.

    Raises:
        UserError: what cannot work.
    """
    run, recipe = resumed_recipe(registry, path, settings)
    if is_locked(path):
        raise UserError(
            f"{path}: another process is training this run",
            expected="one process a run",
            got="a lock that is held",
            fix="wait for it, or stop it",
        )
    return _forecast(registry, recipe, device, progress, f"is {path}, which would go on", run)


def _check_writable(folder: Path) -> None:
    """Whether a folder could be made, found out without making it."""
    above = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        error = f"{above}, which is " + ("not writable" if above.is_dir() else "a file")
        what = f"--out {folder}: the folder cannot be written"
        raise unwritable(what, error, "choose another folder with --out")


def _forecast(
    registry: Registry,
    recipe: Recipe,
    device: str,
    progress: bool,
    place: str,
    run: Run | None = None,
    begin: Begin | None = None,
) -> DryRun:
    check_trackers(recipe.train.trackers)
    before = words.cached_files(recipe)
    accelerator, display = prepare(recipe, device, progress)
    recipe = in_precision(recipe, accelerator.mixed_precision)
    try:
        with nothing_downloaded():
            components = build_components(recipe, registry, accelerator.device)
        said = [f"warning: {warning}" for warning in components.dataset.warnings] + list(
            components.dataset.notes
        )
        if begin is not None:
            begin(components, said.append)
        trainer = make_trainer(recipe, components, accelerator, display)
        done = 0 if run is None else _restored(run, recipe, components, trainer, said)
        prompts = SampleGrids(components, trainer).prompts
        Validation(components, trainer, said.append)
        others = OtherPrograms()
        seconds = _time_steps(components, trainer, done)
        if accelerator.device.type == "cpu" and (busy := others.cores_taken()) > BUSY:
            said.append(words.busy(busy))
    finally:
        display.close()
    steps = _steps_left(recipe, trainer, done, seconds)
    parameters = sum(p.numel() for player in trainer.players for p in player.trainable)
    train = recipe.train.model_copy(update={"prompts": tuple(prompts)})
    memory, memory_words = _memory(replace(recipe, train=train), registry, accelerator.device.type)
    rows = (
        ("recipe", recipe.name),
        ("data", words.data(components, recipe)),
        ("model", f"{words.parts(recipe)}; {parameters:,} parameters are trained"),
        ("steps", words.steps(recipe, trainer, done, steps)),
        ("memory", memory_words),
        ("time", words.time(seconds, steps, recipe, trainer)),
        ("folder", place),
        *(("note", line) for line in said),
        ("written", words.written(before, words.cached_files(recipe))),
    )
    accelerator.free_memory()
    accelerator.end_training()
    return DryRun(rows, seconds, steps, memory, parameters)


def _memory(recipe: Recipe, registry: Registry, kind: str) -> tuple[int | None, str]:
    """The peak of a step in bytes and in words, or why it cannot be told."""
    like: Literal["cuda", "cpu"] = "cpu" if kind == "cpu" else "cuda"
    try:
        found = forecast(recipe, registry, device=like)
    except UserError as error:
        return None, f"not predicted: {error.what}"
    except Exception as error:  # noqa: BLE001 - a plugin's code without contents to compute with may raise any
        return None, f"not predicted: {type(error).__name__}: {' '.join(str(error).split())[:100]}"
    beside = "" if found.beside else ", beside PyTorch itself"
    return found.total, f"about {size(found.total)} at the peak of a step on {kind}{beside}"


def _restored(run: Run, recipe: Recipe, components: Components, trainer: Trainer, said: list[str]) -> int:
    """Load the newest whole checkpoint; the steps done."""
    check_data(run, components)
    snapshot, damaged = ckpt.load_latest(run.path)
    snapshots.restore(trainer, snapshot)
    said += [f"{error.what}: it would go on from step {snapshot.step}" for error in damaged]
    check_left(run, recipe, trainer, snapshot.step)
    return snapshot.step


def _time_steps(components: Components, trainer: Trainer, done: int) -> float:
    """Seconds a step, after some that warm up. Lazy losses count by how often they are due."""
    every = min((term.every for term in components.losses.values() if term.every > 1), default=0)
    kinds = [0, 1] if every else [0]  # every loss is due at step 0
    warm_up = kinds * (WARM_UP + 1) if _captures(trainer) else [0]
    timed = [0, *range(1, TIMED_STEPS)] if every else list(range(1, TIMED_STEPS + 1))
    times: list[float] = []
    numbers = [*warm_up, *timed]
    with closing(training_batches(components, trainer, done, done + len(numbers))) as batches:
        for number, local_batch in zip(numbers, batches):
            began = time.perf_counter()
            trainer.step(batches.maker.batch(local_batch), number)
            _wait(trainer.accelerator.device)
            times.append(time.perf_counter() - began)
            if len(times) > len(warm_up) and sum(times) > PATIENCE:
                break
    warm = times[len(warm_up) :]
    if not every:
        return sum(warm) / len(warm)
    light = warm[1:] or warm
    rest = sum(light) / len(light)
    return rest + max(0.0, warm[0] - rest) / every


def _captures(trainer: Trainer) -> bool:
    """Launch steps as training would, but for compiling them; whether they are captured as CUDA graphs."""
    if trainer.accelerator.device.type == "cuda":
        trainer.choose_launching("off" if trainer.config.compile == "off" else "graphs")
    return trainer.launcher.graphs is not None


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _steps_left(recipe: Recipe, trainer: Trainer, done: int, seconds: float) -> int:
    if not recipe.train.minutes:
        return max(0, recipe.train.steps - done)
    passed = trainer.budget.state()["time"]["seconds"]
    return max(0, round((60 * recipe.train.minutes - passed) / seconds))
