"""The classes that exported folders name, at the path that they name: it must never change."""

from diffusers import ModelMixin  # diffusers looks for it beside a class that a folder names

from t2ikit.exporters.generator_model import GeneratorModel
from t2ikit.exporters.pipeline import TextToImagePipeline

__all__ = ["GeneratorModel", "ModelMixin", "TextToImagePipeline"]
