"""What t2ikit is told of the generator. Imports no torch."""

from importlib.resources import files
from typing import Literal

from pydantic import Field, model_validator

from t2ikit import Config, Context, GeneratorSpec, RecipeSpec, UserError, hookimpl


class DiTConfig(Config):
    """Options of the transformer, its noise schedule and its training."""

    patch: Literal[1, 2, 4, 8] = 4
    """size of the patches that become tokens, pixels"""
    width: int = Field(128, ge=8, multiple_of=8)
    """width of the tokens"""
    heads: int = Field(4, ge=1)
    """attention heads; divides `width`"""
    layers: int = Field(6, ge=1, le=48)
    """transformer blocks"""
    prediction: Literal["v_prediction", "epsilon", "sample", "flow_prediction"] = "sample"
    """prediction target: v, the noise, the clean image, or the velocity of a flow"""
    caption_dropout: float = Field(0.1, ge=0, lt=1)
    """share of samples trained on the empty caption; guidance needs it above 0"""

    @model_validator(mode="after")
    def _heads_divide_the_width(self):
        if self.width % self.heads:
            raise ValueError(f"heads must divide width, got {self.heads} and {self.width}")
        return self


def build(config: DiTConfig, context: Context):
    from t2ikit_dit.model import DiT

    if context.image_size % config.patch:
        raise UserError(
            "generator.patch: patches do not fill the image",
            expected="a divisor of data.size",
            got=f"{config.patch} at {context.image_size} pixels",
            fix="--set data.size=32",
        )
    return DiT(config, context)


@hookimpl
def t2ikit_generators():
    return [GeneratorSpec("dit", build, DiTConfig, summary="a small diffusion transformer")]


@hookimpl
def t2ikit_recipes():
    recipe = files("t2ikit_dit") / "default.toml"
    return [RecipeSpec("default", recipe, summary="a diffusion transformer at 32 px")]
