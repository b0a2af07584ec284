"""From a checked recipe to built parts: the one place of composition. What cannot work is refused here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from t2ikit.core.interfaces import Critic, Dataset, Denoiser, Generator, OneStep, Sampler, TextEncoder
from t2ikit.core.rng import Numbers, derive_seed
from t2ikit.core.shapes import Shape
from t2ikit.core.step import WeightedLoss
from t2ikit.errors import UserError, UserErrors, command, option, reworded
from t2ikit.recipes.images import check_channels, check_shapes, several_shapes
from t2ikit.recipes.recipe import Part, Recipe
from t2ikit.registry.registry import Registry
from t2ikit.registry.specs import GRADIENTS, NEEDS, Context
from t2ikit.utils.console import detail

FAMILIES = {"Denoiser": Denoiser, "OneStep": OneStep}


@dataclass
class Model:
    """What sampling needs: encoder, generator and sampler, built from a recipe.

    Attributes:
        step: of training, whose weights the generator has; None where they are of no checkpoint.
        notes: one sentence for each newer checkpoint that is damaged and was passed over. `Run.model` has
            warned of them; they are for reports, cards and JSON.
        words: that the generator was trained on, with counts; None where they are not known.
    """

    recipe: Recipe
    context: Context
    encoder: TextEncoder
    generator: Generator
    sampler: Sampler
    step: int | None = None
    notes: tuple[str, ...] = ()
    words: Mapping[str, int] | None = None


@dataclass
class Components:
    """What training needs: the model, and the data, critics and losses beside it."""

    model: Model
    dataset: Dataset
    critics: Mapping[str, Critic]
    losses: Mapping[str, WeightedLoss]


def build_model(
    recipe: Recipe,
    registry: Registry,
    device: torch.device,
    image_size: int,
    random: Numbers = "counter",
    image_channels: int = 3,
    image_shapes: tuple[Shape, ...] = (),
) -> Model:
    """Build text encoder, generator and sampler.

    Weights depend on the seed and the part alone, so that adding a critic does not move the generator's.

    Raises:
        UserError: the generator, or what it is sampled with, does not fit.
    """
    text = recipe.parts["text"]
    encoder: TextEncoder = text.entry.spec.build(text.config, None)
    seed = recipe.train.seed
    context = Context(
        image_size,
        encoder.width,
        encoder.length,
        device,
        seed,
        random,
        registry,
        image_channels,
        image_shapes,
    )
    generator = _seeded(recipe.parts["generator"], context, "generator").to(device)
    check_channels(recipe, generator, image_channels)
    sampler = build_sampler(recipe.parts["sampler"], context, generator)
    count = sum(parameter.numel() for parameter in generator.parameters())
    for name in ("text", "generator", "sampler"):
        more = f", {count:,} parameters" if name == "generator" else ""
        detail(f"{name}: {recipe.parts[name].entry.canonical}{more}")
    return Model(recipe, context, encoder, generator, sampler)


def build_sampler(part: Part, context: Context, generator: Generator) -> Sampler:
    """Build a sampler after checking that it can sample this family of models.

    Raises:
        UserError: it cannot, it takes more steps than the model has noise levels, it guides a model that
            was never shown the empty caption, or lays more noise over small images than training did.
    """
    family = part.entry.spec.requires
    if not isinstance(generator, FAMILIES[family]):
        raise UserError(
            f"sampler {part.entry.canonical} cannot sample {type(generator).__name__}",
            expected=f"a generator of the kind {family}",
            got=_family(generator),
            fix="choose a sampler for this kind: --set sampler.use=NAME, from `t2ikit plugins`",
        )
    sampler: Sampler = part.entry.spec.build(part.config, context)
    check_guidance(generator, sampler.guidance, "sampler.guidance")
    check_steps(generator, sampler.steps, "sampler.steps")
    check_augmentation(generator, getattr(part.config, "augmentation", 0.0))
    return sampler


def check_augmentation(generator: Generator, level: float) -> None:
    """Refuse noise over small images at a level that the model has not seen."""
    if generator.super_resolution is not None and level > generator.super_resolution.augmentation:
        raise UserError(
            "sampler.augmentation: the model was not trained on so much noise",
            expected=f"at most {generator.super_resolution.augmentation}, its generator.augmentation",
            got=level,
            fix=f"--set sampler.augmentation={generator.super_resolution.augmentation:g}, or train with more",
        )


def check_steps(generator: Generator, steps: float, where: str) -> None:
    """Refuse more steps than the noise levels a denoiser was trained on."""
    schedule = generator.scheduler_config if isinstance(generator, Denoiser) else {}
    levels = schedule.get("num_train_timesteps", math.inf)
    if steps > levels:
        raise UserError(
            f"{where}: there are more steps than noise levels to take them between",
            expected=f"at most {levels}, the noise levels of the model",
            got=steps,
            fix="ask for fewer; a few dozen are enough for most samplers",
        )


def check_guidance(generator: Generator, guidance: float, where: str) -> None:
    """Refuse a weight that is none, and guidance from a model that was trained without caption dropout."""
    if not 0 <= guidance < math.inf:
        raise UserError(
            f"{where}: this is no weight",
            expected="a finite number at least 0; 1 means no guidance",
            got=guidance,
            fix="give a number such as 3",
        )
    if guidance != 1 and isinstance(generator, Denoiser) and generator.caption_dropout == 0:
        raise UserError(
            f"{where}: guidance needs a model trained with caption dropout",
            expected="guidance 1, or generator.caption_dropout above 0 in the training recipe",
            got=f"guidance {guidance:g} and caption dropout 0",
            fix=("--set sampler.guidance=1" if where == "sampler.guidance" else f"{option('guidance')} 1")
            + ", or train with caption dropout",
        )


def build_components(
    recipe: Recipe, registry: Registry, device: torch.device, random: Numbers = "counter"
) -> Components:
    """Build everything a run trains with, and refuse what cannot work.

    `random` is how its random numbers are made.

    Raises:
        UserErrors: every pairing that cannot work, naming what is missing.
    """
    _check_players(recipe, device)
    _check_no_guide(recipe)
    data = recipe.parts["data"]
    dataset: Dataset = data.entry.spec.build(data.config, None)
    kind = (random, data.config.image_channels, several_shapes(data.config))
    model = build_model(recipe, registry, device, data.config.size, *kind)
    check_shapes(recipe, model.context, model.generator)
    _check_needs(recipe, model.generator)
    super_resolution = model.generator.super_resolution
    side = super_resolution.crop if super_resolution and super_resolution.crop else model.context.image_size
    seen = replace(model.context, image_size=side)  # critics see what the generator is trained on
    try:
        critics = {
            name: _seeded(part, seen, f"critics.{name}").to(device) for name, part in recipe.critics.items()
        }
    except UserError as error:
        if side == model.context.image_size:
            raise
        raise reworded(error, "data.size", "generator.crop") from error
    losses = {name: _weighted_loss(recipe, name, model.context) for name in recipe.losses}
    return Components(model, dataset, critics, losses)


def _seeded(part: Part, context: Context, name: str) -> Any:
    torch.manual_seed(derive_seed(context.seed, name))
    return part.entry.spec.build(part.config, context)


def _weighted_loss(recipe: Recipe, name: str, context: Context) -> WeightedLoss:
    use = recipe.losses[name]
    loss = _seeded(use.part, context, f"losses.{name}")
    if isinstance(loss, torch.nn.Module):
        loss = loss.to(context.device)
    spec = use.part.entry.spec
    return WeightedLoss(loss, spec.player, use.config.weight, use.config.every, frozenset(spec.needs))


def _family(generator: Generator) -> str:
    return next((name for name, kind in FAMILIES.items() if isinstance(generator, kind)), "neither")


def _check_players(recipe: Recipe, device: torch.device) -> None:
    """Whether every player has something to minimise, in a precision it can; before anything is built."""
    players = {use.part.entry.spec.player for use in recipe.losses.values()}
    rules: list[tuple[bool, UserError]] = [
        (
            "generator" not in players,
            UserError(
                "losses: nothing trains the generator",
                expected="at least one loss of the generator with a weight above 0",
                got=", ".join(sorted(recipe.losses)) or "no loss",
                fix="add one: --set losses.NAME.weight=1, from `t2ikit plugins`",
            ),
        ),
        (
            bool(recipe.critics) and "critic" not in players,
            UserError(
                "critics: nothing trains " + ", ".join(recipe.critics),
                expected="at least one loss of the critic",
                got=", ".join(sorted(recipe.losses)) or "no loss",
                fix="add one, or remove the critics",
            ),
        ),
        *_precision_rules(recipe, device),
    ]
    for name, use in recipe.losses.items():
        spec = use.part.entry.spec
        lacks_critic = not recipe.critics and (
            spec.player == "critic" or {"critic", *GRADIENTS} & set(spec.needs)
        )
        rules.append((bool(lacks_critic), _unmet(name, use.part, NEEDS["critic"], "this recipe has none")))
    _raise_broken(rules, recipe)


def _check_no_guide(recipe: Recipe) -> None:
    """Refuse a model that guides: sampling opens it, so that a run needs nothing but its own folder."""
    named = getattr(recipe.parts["sampler"].config, "guidance_model", "")
    if named:
        raise UserError(
            "sampler.guidance_model: training does not take it",
            expected="a recipe without it",
            got=named,
            fix="leave it out; `t2ikit sample` and `evaluate` take it: --set sampler.guidance_model=...",
        )


def _precision_rules(recipe: Recipe, device: torch.device) -> list[tuple[bool, UserError]]:
    half = recipe.train.precision == "fp16"
    critic = UserError(
        "train.precision: fp16 does not train a critic reliably",
        expected="no (fp32) or bf16 where there is a critic",
        got="fp16",
        fix="--set train.precision=bf16",
    )
    cpu = UserError(
        "train.precision: fp16 needs a GPU",
        expected="no (fp32) or bf16 on a CPU",
        got="fp16",
        fix="--set train.precision=bf16, or another --device",
    )
    return [(half and bool(recipe.critics), critic), (half and device.type == "cpu", cpu)]


def _check_needs(recipe: Recipe, generator: Generator) -> None:
    """Whether the generator gives what each loss cannot do without."""
    rules = []
    for name, use in recipe.losses.items():
        for need in sorted({"target", "snr"} & set(use.part.entry.spec.needs)):
            got = f"generator {recipe.parts['generator'].entry.canonical} is {_family(generator)}"
            rules.append((not isinstance(generator, Denoiser), _unmet(name, use.part, NEEDS[need], got)))
        if "low_res" in use.part.entry.spec.needs:
            got = f"generator {recipe.parts['generator'].entry.canonical}, which samples from text alone"
            rules.append((generator.super_resolution is None, _unmet(name, use.part, NEEDS["low_res"], got)))
    _raise_broken(rules, recipe)


def _unmet(name: str, part: Part, need: str, got: str) -> UserError:
    return UserError(
        f"losses.{name} ({part.entry.canonical}) cannot be computed here",
        expected=need,
        got=got,
        fix=f"leave it out with {command('--set', f'losses.{name}.weight=0')}, or add what it needs",
    )


def _raise_broken(rules: list[tuple[bool, UserError]], recipe: Recipe) -> None:
    broken = [error for is_broken, error in rules if is_broken]
    if broken:
        raise UserErrors(f"recipe {recipe.name} cannot work:", broken)
