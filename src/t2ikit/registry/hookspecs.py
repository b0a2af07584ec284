"""The hooks a plugin may implement. Each of the first nine returns a list of specs, never instances."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pluggy

from t2ikit.registry import specs

if TYPE_CHECKING:
    from PIL import Image

hookspec = pluggy.HookspecMarker("t2ikit")
hookimpl = pluggy.HookimplMarker("t2ikit")


@hookspec
def t2ikit_generators() -> list[specs.GeneratorSpec]:  # type: ignore[empty-body]
    """Models that turn captions into images: denoisers and one-step generators."""


@hookspec
def t2ikit_critics() -> list[specs.CriticSpec]:  # type: ignore[empty-body]
    """Models that judge images beside their captions."""


@hookspec
def t2ikit_losses() -> list[specs.LossSpec]:  # type: ignore[empty-body]
    """Functions of a training step that give a scalar to minimise."""


@hookspec
def t2ikit_samplers() -> list[specs.SamplerSpec]:  # type: ignore[empty-body]
    """Samplers: ways to sample images from a trained model."""


@hookspec
def t2ikit_datasets() -> list[specs.DatasetSpec]:  # type: ignore[empty-body]
    """Sources of captioned images."""


@hookspec
def t2ikit_text_encoders() -> list[specs.TextEncoderSpec]:  # type: ignore[empty-body]
    """Frozen encoders of captions."""


@hookspec
def t2ikit_metrics() -> list[specs.MetricSpec]:  # type: ignore[empty-body]
    """Numbers that say how good images are."""


@hookspec
def t2ikit_exporters() -> list[specs.ExporterSpec]:  # type: ignore[empty-body]
    """Formats a run can be written out in."""


@hookspec
def t2ikit_recipes() -> list[specs.RecipeSpec]:  # type: ignore[empty-body]
    """Named recipes, each a TOML file."""


@hookspec
def t2ikit_step_end(run: Path, step: int, scalars: dict[str, float]) -> None:
    """Called in the main process each time scalars are logged; `run` is the run folder."""


@hookspec
def t2ikit_images(run: Path, step: int, prompts: list[str], images: list[Image.Image]) -> None:
    """Called in the main process after validation images were sampled, one for each prompt."""
