"""Which images a generator takes: their channels and shapes."""

from __future__ import annotations

from t2ikit.config.base import DatasetConfig
from t2ikit.core.interfaces import Generator
from t2ikit.core.shapes import Shape
from t2ikit.errors import UserError
from t2ikit.recipes.recipe import Recipe
from t2ikit.registry.specs import Context


def check_channels(recipe: Recipe, generator: Generator, channels: int) -> None:
    """Refuse data of other channels than the generator makes."""
    if generator.image_channels != channels:
        raise UserError(
            f"data.channels: {recipe.parts['generator'].entry.canonical} makes images of other channels",
            expected=f"{generator.image_channels} channels",
            got=f"{channels}, which the data have",
            fix="--set data.channels=rgb, or another generator",
        )


def check_shapes(recipe: Recipe, context: Context, generator: Generator) -> None:
    """Refuse images of several shapes where the generator, or a critic, takes squares alone."""
    shapes, multiple = context.image_shapes, generator.shape_multiple
    if not shapes:
        return
    name = recipe.parts["generator"].entry.canonical
    if not multiple or recipe.critics:
        raise UserError(
            "data.fit=buckets: "
            + (
                f"critics judge squares alone ({', '.join(recipe.critics)})"
                if multiple
                else f"{name} makes squares alone"
            ),
            expected="a denoiser that takes images of any shape, such as imagen/unet, without critics",
            got=f"generator {name}",
            fix="--set data.fit=pad, which keeps whole images, too",
        )
    if any(side % multiple for shape in shapes for side in shape):
        raise UserError(
            f"data.bucket_step: {name} halves images more often than these can be",
            expected=f"a multiple of {multiple}",
            got=recipe.parts["data"].config.bucket_step,
            fix=f"--set data.bucket_step={multiple:d}",
        )


def several_shapes(config: DatasetConfig) -> tuple[Shape, ...]:
    """Height and width of the buckets that images are in; empty where all are squares."""
    return config.image_shapes if len(config.image_shapes) > 1 else ()
