"""What the gigagan plugin offers; imports torch only when a part is built."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Literal

from t2ikit import (
    Config,
    Context,
    CriticSpec,
    ExporterSpec,
    GeneratorSpec,
    LossSpec,
    RecipeSpec,
    SamplerSpec,
    example,
    hookimpl,
    install,
)
from t2ikit_gigagan.configs import (
    AdversarialConfig,
    AugmentConfig,
    ClipConfig,
    ContrastiveConfig,
    CriticConfig,
    GeneratorConfig,
    OneStepConfig,
    PerceptualConfig,
    PixelConfig,
    UpsamplerConfig,
    VisionCriticConfig,
)

RECIPES = Path(__file__).parent / "recipes"
CRITIC = frozenset({"critic"})
SUPER_RESOLUTION = frozenset({"low_res"})


def _build_generator(config: GeneratorConfig, context: Context) -> Any:
    from t2ikit_gigagan.generator import GigaGenerator

    return GigaGenerator(config, *_sizes(context), context.image_channels)


def _build_upsampler(config: UpsamplerConfig, context: Context) -> Any:
    from t2ikit_gigagan.upsampler import GigaUpsampler

    return GigaUpsampler(config, *_sizes(context), context.image_channels)


def _build_pixel(config: PixelConfig, context: Context) -> Any:
    from t2ikit_gigagan.paired import pixel_loss

    return partial(pixel_loss, kind=config.kind)


def _build_perceptual(config: PerceptualConfig, context: Context) -> Any:
    from t2ikit_gigagan.paired import PerceptualLoss

    return PerceptualLoss(config.model, config.depths)


def _sizes(context: Context) -> tuple[int, int, int]:
    return context.image_size, context.text_width, context.text_length


def _augment(config: AugmentConfig) -> Any:
    from t2ikit_gigagan.augmentation import DiffAugment

    options = dict(config)
    return DiffAugment(**options) if any(options.values()) else None


def _build_critic(config: CriticConfig, context: Context) -> Any:
    from t2ikit_gigagan.discriminator import GigaCritic

    augment = _augment(config.augment)
    return GigaCritic(config, *_sizes(context), augment, context.image_channels)


def _build_vision(config: VisionCriticConfig, context: Context) -> Any:
    from t2ikit_gigagan.vision import VisionAidedCritic

    sizes = (context.text_width, context.text_length)
    return VisionAidedCritic(config, *sizes, augment=_augment(config.augment))


def _build_clip(config: ClipConfig, context: Context) -> Any:
    from t2ikit_gigagan.clip_loss import ClipLoss

    return ClipLoss(config.model)


def _loss(name: str, function: str, player: Any, summary: str, needs: frozenset[str] = CRITIC) -> LossSpec:
    def build(options: Config, context: Context) -> Any:
        from t2ikit_gigagan import losses

        return getattr(losses, function)

    return LossSpec(name, build, summary=summary, player=player, needs=needs)


def _adversarial(name: str, function: str, player: Any, summary: str) -> LossSpec:
    def build(options: AdversarialConfig, context: Context) -> Any:
        from t2ikit_gigagan import losses

        return partial(getattr(losses, function), kind=options.kind)

    return LossSpec(name, build, AdversarialConfig, summary, player=player, needs=CRITIC)


def _contrastive(name: str, which: Literal["real", "fake"], player: Any, summary: str) -> LossSpec:
    def build(options: ContrastiveConfig, context: Context) -> Any:
        from t2ikit_gigagan import losses

        return partial(losses.contrastive_loss, scale=options.scale, wrong=options.wrong, which=which)

    return LossSpec(name, build, ContrastiveConfig, summary, player=player, needs=CRITIC)


def _build_sampler(config: OneStepConfig, context: Context) -> Any:
    from t2ikit import OneStepSampler

    return OneStepSampler(config.truncation, config.augmentation)


@hookimpl
def t2ikit_generators() -> list[GeneratorSpec]:
    """The generator and the upsampler."""
    return [
        GeneratorSpec(
            "generator", _build_generator, GeneratorConfig, "filter-bank GAN: one step, a pyramid of images"
        ),
        GeneratorSpec(
            "upsampler", _build_upsampler, UpsamplerConfig, "filter-bank U-Net that upscales in one step"
        ),
    ]


@hookimpl
def t2ikit_critics() -> list[CriticSpec]:
    """The two critics."""
    return [
        CriticSpec("multiscale", _build_critic, CriticConfig, "every level judged at every later level"),
        CriticSpec("vision-aided", _build_vision, VisionCriticConfig, "heads on a frozen CLIP's features"),
    ]


@hookimpl
def t2ikit_losses() -> list[LossSpec]:
    """The adversarial losses, CLIP and the multi-scale error."""
    return [
        _adversarial(
            "adversarial", "generator_loss", "generator", "logistic or relativistic, non-saturating"
        ),
        _adversarial(
            "adversarial-critic", "critic_loss", "critic", "logistic or relativistic, of the critics"
        ),
        _adversarial("matching", "matching_loss", "critic", "images beside wrong texts are fake"),
        _contrastive(
            "contrastive-critic", "real", "critic", "the critic finds a real image's caption in the batch"
        ),
        _contrastive(
            "contrastive", "fake", "generator", "the critic finds a generated image's caption in the batch"
        ),
        _loss("r1", "r1_loss", "critic", "gradient penalty on real images", CRITIC | {"real_grad"}),
        _loss("r2", "r2_loss", "critic", "gradient penalty on generated images", CRITIC | {"fake_grad"}),
        _loss(
            "multiscale-mse",
            "multiscale_mse",
            "generator",
            "a denoiser's clean image at every halving",
            frozenset({"target", "snr"}),
        ),
        LossSpec("pixel", _build_pixel, PixelConfig, "error of an upscaled image", needs=SUPER_RESOLUTION),
        LossSpec(
            "perceptual",
            _build_perceptual,
            PerceptualConfig,
            "LPIPS, or distance in a CLIP's features, of an upscaled image",
            needs=SUPER_RESOLUTION,
        ),
        LossSpec("clip", _build_clip, ClipConfig, "contrastive CLIP loss over the batch's captions"),
    ]


@hookimpl
def t2ikit_samplers() -> list[SamplerSpec]:
    """One step, with truncation."""
    return [SamplerSpec("onestep", _build_sampler, OneStepConfig, "one call, truncation", "OneStep")]


def _build_export(config: Config, context: None) -> Any:
    from t2ikit import export_pipeline
    from t2ikit_gigagan.pipeline import GigaGANPipeline

    return lambda run, out: export_pipeline(run, out, GigaGANPipeline)


@hookimpl
def t2ikit_exporters() -> list[ExporterSpec]:
    """A diffusers pipeline."""
    return [
        ExporterSpec(
            "diffusers", _build_export, summary="a folder that GigaGANPipeline.from_pretrained opens"
        )
    ]


@hookimpl
def t2ikit_recipes() -> list[RecipeSpec]:
    """The recipes beside this file."""
    ladder = ("unconditional", "text", "matching", "clip", "multiscale", "filter-bank", "vision-aided")
    made = ["--data", "creatures", "--steps", "600", "--out", "clip-creatures"]
    clip = f"a small CLIP, made by: {example('train_clip.py', *made)}"
    hub = "openai/clip-vit-base-patch32 from the Hub (605 MB), or --set losses.clip.weight=0"
    return [
        RecipeSpec("default", RECIPES / "default.toml", "32 px, creatures, minutes on a CPU"),
        RecipeSpec("plain", RECIPES / "plain.toml", "the default without what reads word by word"),
        RecipeSpec("sr-32-64", RECIPES / "sr-32-64.toml", "32 to 64 px, creatures, minutes on a CPU"),
        RecipeSpec("gigagan-64", RECIPES / "gigagan-64.toml", "64 px with everything on, for one GPU", hub),
        RecipeSpec(
            "openmoji-32", RECIPES / "openmoji-32.toml", "emoji at 32 px, on a CPU", install("openmoji")
        ),
        RecipeSpec("openmoji-64", RECIPES / "openmoji-64.toml", "emoji at 64 px", install("openmoji")),
        RecipeSpec(
            "distil",
            RECIPES / "distil.toml",
            "t2ikit/distil with a critic on real images",
            "a student of a denoiser, made by: t2ikit distil RUN --recipe gigagan/distil",
        ),
        *(
            RecipeSpec(
                f"ladder-{name}",
                RECIPES / f"ladder-{name}.toml",
                f"a rung of the ladder: {name}",
                clip if name in ladder[3:] else "",
            )
            for name in ladder
        ),
    ]
