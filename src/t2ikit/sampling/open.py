"""A run opened for sampling: with another sampler or other options of it, and the model that guides it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, cast

import torch

from t2ikit.config.toml import apply_settings, parse_setting, readable
from t2ikit.config.validation import validate
from t2ikit.core.interfaces import Denoiser
from t2ikit.core.shapes import Shape, aspect_ratio, bucket_shapes, nearest, shown
from t2ikit.errors import UserError, option, raise_together
from t2ikit.recipes.compose import Model, build_sampler, check_augmentation, check_guidance, check_steps
from t2ikit.recipes.recipe import SAMPLING, Recipe
from t2ikit.recipes.resolve import resolve
from t2ikit.recipes.settings import Plugins
from t2ikit.registry.registry import Registry
from t2ikit.runs.open import open_run, plugins_of
from t2ikit.runs.run import Run
from t2ikit.sampling.denoising import DenoiserSampler
from t2ikit.utils.console import log, warn
from t2ikit.utils.devices import find_device
from t2ikit.utils.quoting import one_line

GUIDE = re.compile(r"(?P<run>.+?)(:(?P<which>\d+|raw|ema=\d*\.?\d+))?")
"""A sampler's `guidance_model`: self or a run folder, and which of its weights."""

NEAR = 0.01
"""By how much a shape's ratio may differ, in logarithms, from the one asked for without a word."""


def open_model(
    run: Run,
    *,
    sampler: str | None = None,
    settings: Sequence[str] = (),
    weights: str = "ema",
    checkpoint: int | None = None,
    ema: float | None = None,
    plugins: Plugins = (),
    device: str = "auto",
    guides: Guides | None = None,
) -> Model:
    """A run's model with another sampler or other sampler options; with its guide, where they name one.

    Args:
        run: to open.
        sampler, settings: another sampler, and `sampler.KEY=VALUE`.
        weights, checkpoint, ema: as in `Run.model`.
        plugins: files of plugins that the run needs.
        device: "auto", "cpu", "cuda" or "mps".
        guides: of this run, which have opened models that guide before.

    Raises:
        UserError: a setting that is not the sampler's, an unknown sampler, or one that does not fit.
    """
    registry = plugins_of(run, plugins)
    with readable(settings) as good:
        raise_together(
            [_not_of_the_sampler(setting) for setting in good if not _of_the_sampler(setting)],
            "the settings cannot be used:",
        )
        sampler, settings = named_sampler(sampler, good)
        run.check_plugins(registry, training=False)
        recipe = sampling_recipe(run, registry, sampler, settings)
    chosen: dict[str, Any] = {"weights": weights, "checkpoint": checkpoint, "ema": ema}
    model = run.model(registry, **chosen, device=find_device(device))
    return with_recipe(model, recipe, guides or Guides(run, registry))


def sampling_recipe(
    run: Run, registry: Registry, sampler: str | None, settings: Sequence[str] = ()
) -> Recipe:
    """What a run is sampled with: its own recipe with another sampler (None: its own) and settings."""
    table = sampling_table(registry, run.table, sampler, settings)
    return resolve(registry, table, str(run.path / "recipe.toml"), settings=settings, only=SAMPLING)


def with_recipe(model: Model, recipe: Recipe, guides: Guides) -> Model:
    """The same weights with a sampler of their own, as a recipe of the same run has it.

    Raises:
        UserError: the sampler does not fit the model.
    """
    built = build_sampler(recipe.parts["sampler"], model.context, model.generator)
    return guides.attach(replace(model, recipe=recipe, sampler=built))


class Guides:
    """Opens the models that guide the sampling of a run away from their faults, each once.

    Args:
        run: that is sampled; `self` in a sampler's `guidance_model`.
        registry: where the parts of guides are looked up, as the run's own are: what a folder names is not
            loaded unless it is installed or was given.
    """

    def __init__(self, run: Run, registry: Registry) -> None:
        self.run, self.registry = run, registry
        self._opened: dict[str, Model] = {}

    def attach(self, model: Model) -> Model:
        """The model; its sampler has the guide that its options name, if they do.

        Raises:
            UserError: it cannot be opened, or does not fit the model.
        """
        config = model.recipe.parts["sampler"].config
        named = getattr(config, "guidance_model", "")
        if not named:
            return model
        if not isinstance(model.sampler, DenoiserSampler):
            raise UserError(
                f"sampler.guidance_model: {type(model.sampler).__name__} takes no model that guides",
                expected="a sampler made from DenoiserSampler, such as dpm++",
                got=named,
                fix="leave it out, or choose another sampler with --sampler",
            )
        if named not in self._opened:
            self._opened[named] = self._open(named, model.context.device)
        guide = self._opened[named]
        check_guide(model, guide, named)
        check_augmentation(guide.generator, config.augmentation)
        model.sampler.guide = cast(Denoiser, guide.generator)
        return model

    def about(self, model: Model) -> dict[str, int | None]:
        """What numbers depend on besides the options: the step of the guide's weights, if there is one."""
        named = getattr(model.recipe.parts["sampler"].config, "guidance_model", "")
        return {"guide_step": self._opened[named].step} if named in self._opened else {}

    def _open(self, named: str, device: torch.device) -> Model:
        found = GUIDE.fullmatch(named)
        assert found is not None
        where, which = found["run"], found["which"]
        if where == "self" and which is None:
            raise UserError(
                "sampler.guidance_model: a model cannot guide itself with the same weights",
                expected="self:STEP, self:raw, self:ema=WIDTH, or another run folder",
                got=named,
                fix=f"name an earlier checkpoint: self:{min(self.run.steps, default=500)}",
            )
        run = self.run if where == "self" else open_run(where)
        chosen: dict[str, Any] = {}
        if which == "raw":
            chosen["weights"] = "raw"
        elif which is not None and which.startswith("ema="):
            chosen["ema"] = float(which.removeprefix("ema="))
        elif which is not None:
            chosen["checkpoint"] = int(which)
        return replace(run, ema=None).model(self.registry, device=device, **chosen)


def check_guide(model: Model, guide: Model, named: str) -> None:
    """Refuse a guide that does not predict the same of the same texts as a model.

    Raises:
        UserError: naming what differs.
    """
    if not isinstance(guide.generator, Denoiser):
        raise _unfit("is not a diffusion model", named, "a Denoiser", type(guide.generator).__name__)
    mine, its = _interface(model), _interface(guide)
    for what in [*mine, *(set(its) - set(mine))]:
        if mine.get(what) != its.get(what):
            raise _unfit(f"has another {what}", named, mine.get(what), its.get(what))


def _interface(model: Model) -> dict[str, str]:
    """What a model and its guide must have in common, by what it is called."""
    generator = cast(Denoiser, model.generator)
    super_resolution = generator.super_resolution
    schedule = {f"schedule ({key})": str(value) for key, value in generator.scheduler_config.items()}
    return schedule | {
        "image size": f"{model.context.image_size} px",
        "size of images to upscale": "none"
        if super_resolution is None
        else f"{model.context.image_size // super_resolution.ratio} px",
        "text encoder": f"fingerprint {model.encoder.fingerprint}",
    }


def _unfit(what: str, named: str, expected: str | None, got: str | None) -> UserError:
    return UserError(
        f"sampler.guidance_model: {named} {what}",
        expected=f"{one_line(expected, 60)}, as in the model that it guides",
        got=one_line(got, 60),
        fix="train the guide with the same data.size, text and schedule, but smaller or for fewer steps",
    )


def _of_the_sampler(setting: str) -> bool:
    return parse_setting(setting)[0][0] == "sampler"


def _not_of_the_sampler(setting: str) -> UserError:
    return UserError(
        f"--set {setting}: only the sampler can change after training",
        expected="sampler.KEY=VALUE",
        got=setting,
        fix="see `t2ikit options sampler` for the sampler's options",
    )


def named_sampler(sampler: str | None, settings: Sequence[str]) -> tuple[str | None, list[str]]:
    """The sampler that is meant, `sampler` or else the settings' sampler.use, and the other settings."""
    parsed = [(setting, *parse_setting(setting)) for setting in settings]
    named = [str(value) for _, keys, value in parsed if keys == ("sampler", "use")]
    others = [setting for setting, keys, _ in parsed if keys != ("sampler", "use")]
    return sampler or (named[-1] if named else None), others


def sampling_table(
    registry: Registry, table: dict[str, Any], sampler: str | None, settings: Sequence[str]
) -> dict[str, Any]:
    """A recipe's tables with another sampler (None: its own), and then with settings."""
    if sampler is not None:
        table = {**table, "sampler": with_sampler(registry, table["sampler"], sampler)}
    return apply_settings(table, settings)


def with_sampler(registry: Registry, now: dict[str, Any], name: str) -> dict[str, Any]:
    """A recipe's [sampler] for another sampler.

    Options that the recipe changed and that the other has, too, stay, but for the steps.
    """
    entry = registry.find("samplers", name)
    if entry.canonical == now["use"]:
        return now
    known = set(entry.spec.config.model_fields) - {"steps"}
    usual = registry.find("samplers", now["use"]).spec.config.model_construct().model_dump(mode="json")
    changed = {key: value for key, value in now.items() if key in known and value != usual.get(key)}
    return {**changed, "use": entry.canonical}


def shape_for(model: Model, aspect: str | float | None) -> Shape | None:
    """Height and width for "3:2" or a number: of the shapes that a model knows, the one that comes nearest.

    Those are the buckets it was trained in, and else the shapes that training in buckets would have. None: no
    ratio is asked for, and images are the model's own squares.

    Raises:
        UserError: the model makes squares alone, or the ratio is none.
    """
    if aspect is None:
        return None
    ratio, size, multiple = aspect_ratio(aspect), model.context.image_size, model.generator.shape_multiple
    if not multiple:
        raise UserError(
            f"{option('aspect')} {aspect}: this model makes squares alone",
            expected="a denoiser that takes images of any shape, such as imagen/unet",
            got=f"{type(model.generator).__name__} of {size} x {size} px",
            fix=f"leave {option('aspect')} out",
        )
    trained = model.context.image_shapes
    if not trained:
        warn(
            f"{option('aspect')}: this model was trained on squares alone (data.fit=buckets trains on others)"
        )
    shape = nearest(ratio, trained or bucket_shapes(size, multiple))
    if abs(math.log(shape[1] / shape[0] / ratio)) > NEAR:
        log(f"{option('aspect')} {aspect}: the nearest shape is {shown(shape)} px")
    return shape


def check_call(model: Model, name: Literal["steps", "guidance"], value: float | None) -> None:
    """Refuse --steps or --guidance that the model or its sampler cannot use; None is the sampler's own.

    Raises:
        UserError: the model samples in one step, or the value is out of bounds.
    """
    if value is None:
        return
    where = f"{option(name)} {value:g}"
    if not isinstance(model.generator, Denoiser):
        calls = getattr(model.generator, "calls", 1)
        if name == "steps" and value == calls > 1:
            return
        number = "one step" if calls == 1 else f"{calls} steps"
        raise UserError(
            f"{where}: this model samples in {number}, without guidance",
            expected="a diffusion run",
            got=type(model.generator).__name__,
            fix=f"leave {option(name)} out",
        )
    config = model.recipe.parts["sampler"].config
    if name in type(config).model_fields:
        validate(type(config), {**config.model_dump(mode="json"), name: value}, where=where)
    check = check_steps if name == "steps" else check_guidance
    check(model.generator, value, where)
