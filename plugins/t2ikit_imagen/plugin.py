"""What the imagen plugin offers; imports torch only when a part is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from t2ikit import Context, GeneratorSpec, LossSpec, RecipeSpec, SamplerSpec, hookimpl
from t2ikit_imagen.configs import DenoiseConfig, DPMSolverConfig, UNetConfig

RECIPES = Path(__file__).parent / "recipes"


def _build_unet(config: UNetConfig, context: Context) -> Any:
    from t2ikit_imagen.denoiser import ImagenDenoiser

    return ImagenDenoiser(config, context.image_size, context.text_width, context.text_length)


def _build_denoise(config: DenoiseConfig, context: Context) -> Any:
    from t2ikit_imagen.losses import DenoiseLoss

    return DenoiseLoss(config.min_snr_gamma)


def _build_dpm_solver(config: DPMSolverConfig, context: Context) -> Any:
    from t2ikit_imagen.samplers import DPMSolverSampler

    return DPMSolverSampler(config)


@hookimpl
def t2ikit_generators() -> list[GeneratorSpec]:
    """The U-Net."""
    return [GeneratorSpec("unet", _build_unet, UNetConfig, "text-conditional U-Net, v-prediction")]


@hookimpl
def t2ikit_losses() -> list[LossSpec]:
    """The denoising loss."""
    return [
        LossSpec(
            "denoise",
            _build_denoise,
            DenoiseConfig,
            "mean squared error of the v-prediction, min-SNR weighted",
            needs=frozenset({"target", "snr"}),
        )
    ]


@hookimpl
def t2ikit_samplers() -> list[SamplerSpec]:
    """DPM-Solver++."""
    return [SamplerSpec("dpm++", _build_dpm_solver, DPMSolverConfig, "DPM-Solver++ (2M), tens of steps")]


@hookimpl
def t2ikit_recipes() -> list[RecipeSpec]:
    """The recipes beside this file."""
    return [RecipeSpec("default", RECIPES / "default.toml", "32 px, creatures, minutes on a CPU")]
