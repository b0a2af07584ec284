"""A generator and the batch that it is checked on."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from t2ikit.core.batch import Batch
from t2ikit.core.interfaces import Denoiser, Generator, OneStep
from t2ikit.core.rng import Draws
from t2ikit.core.step import resize_level
from t2ikit.testing.report import Trial
from t2ikit.testing.support import Subject, shake
from t2ikit.testing.toys import toy_batch

COUNT = 4
SOME = slice(1, 3)
OTHER = ["a loud circle", "one quiet line", "two old hats", "no blue at"]
"""Captions as long as those of the toy batch, so that they differ in their words alone."""


class GeneratorTrial(Trial):
    """A generator and a batch.

    Args:
        part: the generator.
        image_size: pixels.
        low_res: size of the images to upscale, pixels; None: as its `super_resolution` says.
    """

    def __init__(self, part: Subject, image_size: int = 32, low_res: int | None = None) -> None:
        self.part, self.title = part, part.title
        self.size, self.low_res = image_size, low_res

    @cached_property
    def model(self) -> Generator:
        """The generator as it is built."""
        model: Generator = self.part.build(self.size)
        return model

    @cached_property
    def moved(self) -> Generator:
        """The generator with weights as if it were trained."""
        model: Generator = self.part.build(self.size)
        shake(model)
        return model

    @cached_property
    def batch(self) -> Batch:
        """Images of noise with captions, and for super-resolution with small images."""
        batch = toy_batch(COUNT, self.size)
        upscales, small = self.model.super_resolution, self.low_res
        if small is None and upscales is not None:
            small = self.size // upscales.ratio
        if small is None:
            return batch
        low_res = resize_level(batch.images, (small, small))
        return replace(batch, condition=replace(batch.condition, low_res=low_res))

    def draws(self, salt: int = 0) -> Draws:
        """The batch's randomness."""
        return Draws(self.batch.keys, salt)

    def sampled(self, batch: Batch) -> Tensor:
        """What samplers ask the generator for."""
        model = self.moved
        if isinstance(model, Denoiser):
            last = int(model.scheduler_config["num_train_timesteps"]) - 1
            condition = model.prepare(batch.condition)
            return model.denoise(batch.images, torch.full((len(batch),), last), condition)
        assert isinstance(model, OneStep)
        return model.generate(batch.condition, self.draws())[-1]

    def others(self, seed: int) -> Batch:
        """The batch with other images, for the same captions."""
        return replace(self.batch, images=toy_batch(COUNT, self.size, seed=seed).images)
