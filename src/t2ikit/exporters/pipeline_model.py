"""From what a pipeline holds, its config and its modules, to the parts of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from t2ikit.core.interfaces import TextEncoder
from t2ikit.errors import UserError
from t2ikit.recipes.recipe import SAMPLING, Part, Recipe
from t2ikit.recipes.resolve import resolve
from t2ikit.registry.registry import Registry
from t2ikit.runs.run import Run
from t2ikit.text.pretrained import LoadedTextEncoder

EXTRA = ("image_size", "image_shapes", "plugins", "random")
"""What a pipeline's recipe holds besides tables."""
PRECISIONS = {torch.bfloat16: "bf16", torch.float16: "fp16"}
"""What sampling computes in where the weights are not float32."""


def extra_of(run: Run) -> dict[str, Any]:
    """What a pipeline's recipe holds of a run besides tables."""
    shapes = {"image_shapes": [list(shape) for shape in run.image_shapes]} if run.image_shapes else {}
    return {"image_size": run.image_size, "plugins": run.sampled_with, "random": run.random, **shapes}


def recipe_of(
    config: Mapping[str, Any], registry: Registry, dtype: torch.dtype, device: torch.device
) -> Recipe:
    """The recipe of a pipeline, with the precision that its weights are sampled in.

    Raises:
        UserError: a plugin that it names is not installed, or the device cannot sample in this precision.
    """
    tables = {key: value for key, value in config.items() if key not in EXTRA}
    recipe = resolve(registry, tables, "the pipeline's recipe", only=SAMPLING)
    computed = {"precision": _precision(recipe.train.precision, dtype, device.type)}
    return replace(recipe, train=recipe.train.model_copy(update=computed))


def _precision(trained: str, dtype: torch.dtype, device: str) -> str:
    """What sampling computes in: that of the weights, or of training where those are float32."""
    if dtype == torch.float32:
        return trained
    if dtype not in PRECISIONS or (dtype == torch.float16 and device == "cpu"):
        raise UserError(
            f"the generator's weights are {dtype}, in which the device {device} cannot sample",
            expected="torch.float32, torch.bfloat16 or, on a GPU, torch.float16",
            got=dtype,
            fix="pipeline.to(torch.float32), or give from_pretrained another torch_dtype",
        )
    return PRECISIONS[dtype]


def text_encoder_of(part: Part, model: Any, tokenizer: Any) -> TextEncoder:
    """The text encoder of a recipe, around a model of transformers, or without one."""
    if model is not None:
        return LoadedTextEncoder(model, tokenizer, part.config)
    encoder: TextEncoder = part.entry.spec.build(part.config, None)
    return encoder


def check_size(encoder: TextEncoder, wanted: Any) -> None:
    """Refuse a text encoder of another size than the generator's.

    Raises:
        UserError: naming both.
    """
    if (encoder.width, encoder.length) != (wanted.text_width, wanted.text_length):
        raise UserError(
            "the pipeline's text encoder does not fit its generator",
            expected=f"{wanted.text_length} tokens of {wanted.text_width} numbers",
            got=f"{encoder.length} of {encoder.width}",
            fix="give the text encoder that the model was trained with",
        )
