"""What the imagen plugin offers; imports torch only when a part is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from t2ikit import (
    Config,
    Context,
    ExporterSpec,
    GeneratorSpec,
    LossSpec,
    RecipeSpec,
    SamplerConfig,
    SamplerSpec,
    example,
    hookimpl,
    install,
)
from t2ikit_imagen.configs import (
    DDIMConfig,
    DDPMConfig,
    DenoiseConfig,
    EulerConfig,
    FlowConfig,
    IFConfig,
    MultistepConfig,
    SuperResolutionConfig,
    UNetConfig,
)

RECIPES = Path(__file__).parent / "recipes"


def _build_unet(config: UNetConfig, context: Context) -> Any:
    from t2ikit_imagen.denoiser import ImagenDenoiser

    return ImagenDenoiser(config, *_sizes(context), context.image_channels)


def _build_if(config: IFConfig, context: Context) -> Any:
    from t2ikit_imagen.deepfloyd import IFDenoiser

    return IFDenoiser(config, *_sizes(context))


def _build_upsampler(config: SuperResolutionConfig, context: Context) -> Any:
    from t2ikit_imagen.super_resolution import ImagenUpsampler

    return ImagenUpsampler(config, *_sizes(context), context.image_channels)


def _sizes(context: Context) -> tuple[int, int, int]:
    return context.image_size, context.text_width, context.text_length


def _build_denoise(config: DenoiseConfig, context: Context) -> Any:
    from t2ikit_imagen.losses import DenoiseLoss

    return DenoiseLoss(config)


def _sampler(name: str, class_name: str, config: type[SamplerConfig], summary: str) -> SamplerSpec:
    def build(options: SamplerConfig, context: Context) -> Any:
        from t2ikit_imagen import samplers

        return getattr(samplers, class_name)(options)

    return SamplerSpec(name, build, config, summary)


@hookimpl
def t2ikit_generators() -> list[GeneratorSpec]:
    """The U-Nets."""
    return [
        GeneratorSpec("unet", _build_unet, UNetConfig, "text-conditional U-Net: v, epsilon, x0 or flow"),
        GeneratorSpec("if-unet", _build_if, IFConfig, "U-Net that diffusers' IFPipeline opens"),
        GeneratorSpec(
            "super-resolution", _build_upsampler, SuperResolutionConfig, "U-Net that upscales 2 or 4 times"
        ),
    ]


@hookimpl
def t2ikit_losses() -> list[LossSpec]:
    """The denoising loss."""
    return [
        LossSpec(
            "denoise",
            _build_denoise,
            DenoiseConfig,
            "error of the prediction (L2, L1, Huber), weighted by SNR",
            needs=frozenset({"target", "snr"}),
        )
    ]


@hookimpl
def t2ikit_samplers() -> list[SamplerSpec]:
    """Samplers over diffusers' schedulers, each for any of the plugin's denoisers."""
    return [
        _sampler("dpm++", "DPMSolverSampler", MultistepConfig, "DPM-Solver++ multistep, tens of steps"),
        _sampler("unipc", "UniPCSampler", MultistepConfig, "UniPC multistep, tens of steps"),
        _sampler("ddim", "DDIMSampler", DDIMConfig, "DDIM, deterministic unless eta is above 0"),
        _sampler("euler", "EulerSampler", EulerConfig, "Euler steps on the diffusion schedule"),
        _sampler("flow", "FlowSampler", FlowConfig, "Euler steps on the straight path of flow matching"),
        _sampler("ddpm", "DDPMSampler", DDPMConfig, "ancestral sampling, a thousand steps"),
    ]


def _build_export(config: Config, context: None) -> Any:
    from t2ikit import export_pipeline
    from t2ikit_imagen.pipeline import ImagenPipeline

    return lambda run, out: export_pipeline(run, out, ImagenPipeline)


def _build_if_export(config: Config, context: None) -> Any:
    from t2ikit_imagen.deepfloyd_export import export_if

    return export_if


@hookimpl
def t2ikit_exporters() -> list[ExporterSpec]:
    """A diffusers pipeline."""
    return [
        ExporterSpec(
            "diffusers", _build_export, summary="a folder that ImagenPipeline.from_pretrained opens"
        ),
        ExporterSpec("if", _build_if_export, summary="a folder that diffusers opens without t2ikit"),
    ]


@hookimpl
def t2ikit_recipes() -> list[RecipeSpec]:
    """The recipes beside this file."""
    t5 = f"a small T5, made by: {example('train_t5.py', '--out', 't5-creatures')}"
    hub = "google-t5/t5-small from the Hub (242 MB)"
    return [
        RecipeSpec("default", RECIPES / "default.toml", "32 px, creatures, minutes on a CPU"),
        RecipeSpec("plain", RECIPES / "plain.toml", "the default with the error of pixels alone"),
        RecipeSpec("long", RECIPES / "long.toml", "32 px, creatures, nearly three times as long"),
        RecipeSpec("creatures", RECIPES / "creatures.toml", "32 px, the packaged model, five times as long"),
        RecipeSpec("imagen-64", RECIPES / "imagen-64.toml", "the reference configuration, for a GPU"),
        RecipeSpec("imagen-64-v", RECIPES / "imagen-64-v.toml", "the same size with better settings"),
        RecipeSpec(
            "imagen-64-t5", RECIPES / "imagen-64-t5.toml", "imagen-64-v with T5-small for the text", hub
        ),
        RecipeSpec(
            "openmoji-32", RECIPES / "openmoji-32.toml", "emoji at 32 px, on a CPU", install("openmoji")
        ),
        RecipeSpec(
            "fluent-emoji-32",
            RECIPES / "fluent-emoji-32.toml",
            "emoji in 3D at 32 px, on a CPU",
            install("fluent-emoji"),
        ),
        RecipeSpec("imagen-if", RECIPES / "imagen-if.toml", "32 px, exported for stock diffusers", t5),
        RecipeSpec("sr-32-64", RECIPES / "sr-32-64.toml", "32 to 64 px, creatures, minutes on a CPU"),
        RecipeSpec("sr-64-256", RECIPES / "sr-64-256.toml", "64 to 256 px, for a GPU with 12 GB"),
        RecipeSpec("openmoji-64", RECIPES / "openmoji-64.toml", "emoji at 64 px", install("openmoji")),
    ]
