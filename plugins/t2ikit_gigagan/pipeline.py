"""The GAN as a diffusers pipeline."""

from __future__ import annotations

from typing import Any, ClassVar

from t2ikit import OneStep, TextToImagePipeline


class GigaGANPipeline(TextToImagePipeline):
    """Prompts, or prompts and small images, to images in one step."""

    family: ClassVar[Any] = OneStep
