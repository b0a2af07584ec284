"""`t2ikit train` in code: start a run, or go on with one."""

from __future__ import annotations

import errno
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from t2ikit.config.toml import parse_setting, readable
from t2ikit.core.interfaces import Split, StreamingDataset
from t2ikit.data.feed.resident import stays_on_device
from t2ikit.errors import UserError, command, raise_together
from t2ikit.nn.ema import EMA
from t2ikit.recipes.compose import Components, build_components
from t2ikit.recipes.read import steps_or_minutes
from t2ikit.recipes.recipe import Recipe
from t2ikit.registry.registry import Registry
from t2ikit.runs.commands import resume_command
from t2ikit.runs.create import check_new, create_run, next_run_folder
from t2ikit.runs.files import lock_run
from t2ikit.runs.open import open_run
from t2ikit.runs.run import Run
from t2ikit.text.vocabulary import cut_prompts
from t2ikit.training.accelerator import describe_precision, in_precision, lay_out, make_accelerator
from t2ikit.training.display import Display, Silent, make_display
from t2ikit.training.finetuning.lora import add_lora
from t2ikit.training.player import Player, make_players
from t2ikit.training.session import Session
from t2ikit.training.trackers import check_trackers
from t2ikit.training.trainer import Trainer
from t2ikit.training.validation import training_shapes, validation_data
from t2ikit.utils.files import unwritable

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
Begin = Callable[[Components, Callable[[str], None]], Mapping[str, Any]]
_AVERAGES = ("ema_decay", "ema_snapshots")
FIXED_ON_RESUME = ("batch", "precision", "seed", "lora", *_AVERAGES, "prompts", "samples", "log_every")


def start_run(
    registry: Registry,
    recipe: Recipe,
    out: Path | None = None,
    *,
    device: str = "auto",
    progress: bool = True,
    begin: Begin | None = None,
) -> Run:
    """Train a recipe from the beginning into the new folder `out`, or runs/PLUGIN-001 and so on.

    Args:
        registry: that the recipe was read with.
        recipe: what to train.
        out: the new folder.
        device: auto, cpu, cuda or mps.
        progress: show on standard error how far it is.
        begin: gives the built parts the weights they begin with, and logs; what run.json is to say of these.

    Raises:
        UserError: what cannot work, before anything is computed.
    """
    accelerator, display = prepare(recipe, device, progress)
    folder = _new_folder(recipe, out, accelerator)
    asked, recipe = recipe, in_precision(recipe, accelerator.mixed_precision)
    components = build_components(recipe, registry, accelerator.device)
    validation_data(components.dataset)
    stays_on_device(recipe.parts["data"].config, components.dataset, accelerator.device)
    check_trackers(recipe.train.trackers)
    origin = begin(components, display.log) if begin is not None else None
    if accelerator.is_main_process:
        create_run(
            folder,
            asked,
            registry,
            data=components.dataset.fingerprint,
            text=components.model.encoder.fingerprint,
            device=str(accelerator.device),
            processes=accelerator.num_processes,
            upscales=components.model.generator.super_resolution is not None,
            chosen={"precision": recipe.train.precision},
            origin=origin,
            shapes=training_shapes(components.dataset),
        )
    accelerator.wait_for_everyone()
    return _train(open_run(folder), registry, recipe, components, accelerator, display, resume=False)


def _new_folder(recipe: Recipe, out: Path | None, accelerator: Accelerator) -> Path:
    """The run folder, chosen and checked by the main process and told to the others."""
    chosen = [""]
    if accelerator.is_main_process:
        folder = out or next_run_folder(recipe.parts["generator"].entry.plugin)
        check_new(folder)
        chosen = [str(folder)]
    return Path(broadcast_object_list(chosen)[0])


def resume_run(
    registry: Registry,
    path: Path,
    *,
    settings: Sequence[str] = (),
    device: str = "auto",
    progress: bool = True,
) -> Run:
    """Go on with a run from its newest whole checkpoint.

    Args:
        registry: must hold every plugin the run was made with; a file plugin must be the same file.
        path: the run folder.
        settings: `train.key=value` strings that may change on the way (steps, minutes, micro_batch,
            num_workers, how often to save and show), and are recorded in the run; anything that would change
            what was computed is refused.
        device: auto, cpu, cuda or mps.
        progress: show on standard error how far it is.

    Raises:
        UserError: what cannot work, before anything is computed.
    """
    run, recipe = resumed_recipe(registry, path, settings)
    accelerator, display = prepare(recipe, device, progress)
    components = build_components(recipe, registry, accelerator.device, run.random)
    check_data(run, components)
    own = any(parse_setting(setting)[0] == ("train", "micro_batch") for setting in settings)
    return _train(run, registry, recipe, components, accelerator, display, resume=True, own_micro_batch=own)


def resumed_recipe(registry: Registry, path: Path, settings: Sequence[str]) -> tuple[Run, Recipe]:
    """A run and the recipe that it goes on with.

    Raises:
        UserError: it is no run, a plugin is missing, or a setting cannot change now.
    """
    run = open_run(path)
    if run.is_closed:
        raise UserError(
            f"{run.name}: there is no training to go on with",
            expected="a run folder with checkpoints, as `t2ikit train` makes them",
            got=f"the trained model alone, in {run.path}",
            fix=f"start a new run from its weights: `{command('t2ikit', 'train', '--init', path)}`",
        )
    run.check_plugins(registry, training=True)
    with readable(settings) as good:
        chosen = tuple(steps_or_minutes(good))
        _check_settings(chosen)
        return run, run.recipe(registry, sampling=False, settings=chosen)


def check_data(run: Run, components: Components) -> None:
    """Refuse to go on with other data or another text encoder than the run began with."""
    run.check_text(components.model.encoder)
    expected = run.info["data_fingerprint"]
    if components.dataset.fingerprint != expected:
        raise UserError(
            f"{run.path}: the data has changed since the run began",
            expected=f"data with fingerprint {expected}",
            got=f"fingerprint {components.dataset.fingerprint} at {run.table['data']['spec']}",
            fix="restore the data as it was, or start a new run",
        )


def _check_settings(settings: Sequence[str]) -> None:
    fixed = [
        UserError(
            f"--set {setting}: this cannot change when a run goes on",
            expected="train.steps, minutes, micro_batch, num_workers, trackers, keep_*, "
            "*_every but log_every",
            got=".".join(keys),
            fix="start a new run to change it",
        )
        for setting, keys in ((setting, parse_setting(setting)[0]) for setting in settings)
        if keys[0] != "train" or keys[-1] in FIXED_ON_RESUME
    ]
    raise_together(fixed, "the settings cannot be used:")


def prepare(recipe: Recipe, device: str, progress: bool) -> tuple[Accelerator, Display]:
    """What a training needs before anything is built: devices and processes, and what shows how far it is."""
    # A lazy loss, or a critic that one loss leaves out, gives some parameters no gradient at some steps.
    lazy = bool(recipe.critics) or any(use.config.every > 1 for use in recipe.losses.values())
    accelerator = make_accelerator(recipe.train, device, lazy_parameters=lazy)
    return accelerator, make_display(main=progress and accelerator.is_main_process)


def make_trainer(
    recipe: Recipe, components: Components, accelerator: Accelerator, display: Display | None = None
) -> Trainer:
    """A trainer of built parts: players, optimisers and averaged weights."""
    model, log = components.model, (display or Silent()).log
    if recipe.train.lora:
        add_lora(model.generator, recipe.train.lora, recipe.train.seed, log)
    players: list[Player] = make_players(
        model.generator, components.critics, components.losses, recipe.train.seed, model.context.random
    )
    lay_out(players, accelerator)
    decay = recipe.train.ema_decay
    ema = EMA(model.generator, decay) if decay else None
    return Trainer(players, recipe.train, dict(recipe.optimizer), accelerator, ema, log)


def _train(
    run: Run,
    registry: Registry,
    recipe: Recipe,
    components: Components,
    accelerator: Accelerator,
    display: Display,
    *,
    resume: bool,
    own_micro_batch: bool = False,
) -> Run:
    lock, run = None, replace(run, registry=registry)
    upscales = components.model.generator.super_resolution is not None
    run.info.setdefault("upscales", upscales)  # which older versions did not write

    def to_the_end() -> Run:
        trainer = make_trainer(recipe, components, accelerator, display)
        session = Session(run, components, trainer, registry, display)
        start = session.resume(own_micro_batch=own_micro_batch) if resume else 0
        check_left(run, recipe, trainer, start)
        session.train(start)
        return session.run

    try:
        lock = lock_run(run.path) if accelerator.is_main_process else None
        if accelerator.device.type == "cuda" or accelerator.mixed_precision != "no":
            display.log(describe_precision(accelerator))
        for warning in components.dataset.warnings:
            display.log(f"warning: {warning}")
        for note in components.dataset.notes:
            display.log(note)
        for message in components.model.encoder.prepare(_captions(components, recipe)):
            display.log(message)
        cut = cut_prompts(components.model.encoder, recipe.train.prompts)
        if cut:
            display.log(f"train.prompts: {cut}")
        trained = to_the_end()
        # Gloo's threads abort or hang a process that ends before them. They end with the process group, which
        # distributed models hold in cycles: once the trainer is gone, `free_memory` collects those.
        accelerator.free_memory()
        accelerator.end_training()
        return trained
    except OSError as error:
        if error.errno in FULL or str(error.filename or "").startswith(str(run.path)):
            raise _unwritten(run, error) from error
        raise
    finally:
        display.close()
        if lock is not None:
            lock.release()


def _captions(components: Components, recipe: Recipe) -> Iterator[str]:
    """Every caption that training can show, the empty one, and those of the grids."""
    dataset = components.dataset
    streamed = isinstance(dataset, StreamingDataset)  # whose captions are encoded as they come
    splits: tuple[Split, ...] = ("validation",) if streamed else ("train", "validation")
    for split in splits:
        for index in range(dataset.size(split)):
            yield from dataset.captions(split, index)
    yield from (recipe.train.prompts or dataset.prompts(4, recipe.train.seed))
    yield ""


def check_left(run: Run, recipe: Recipe, trainer: Trainer, done: int) -> None:
    """Refuse steps or minutes that a run which goes on is past already."""
    steps, minutes = recipe.train.steps, recipe.train.minutes
    if not minutes and done > steps:
        raise UserError(
            f"{run.path}: the run is past train.steps already",
            expected=f"train.steps at least {done}, the steps done",
            got=steps,
            fix=f"leave it out, or --set train.steps={2 * done:d} to go on",
        )
    passed = trainer.budget.state().get("time", {}).get("seconds", 0.0) / 60
    if minutes and minutes < passed and minutes != run.table["train"].get("minutes"):
        raise UserError(
            f"{run.path}: the run has trained for longer than train.minutes already",
            expected=f"more than {passed:.2f}, the minutes in all",
            got=minutes,
            fix=f"leave it out, or --minutes {math.ceil(2 * passed):d} to go on",
        )


def _unwritten(run: Run, error: OSError) -> UserError:
    fix = f"free some space or permissions, then go on with: {resume_command(run)}"
    return unwritable(f"{run.path}: a file of the run cannot be written", error, fix)
