"""A denoiser as a generator of one network call: pure noise in, its clean image out.

Source: distribution matching distillation (arXiv 2311.18828); a few calls with backward simulation, so that
each is trained on what the calls before it make: DMD2 (arXiv 2405.14867, sections 4.3 and 4.4).
"""

from __future__ import annotations

import torch
from torch import Tensor

from t2ikit.core.batch import Batch, Condition, Prediction
from t2ikit.core.interfaces import Denoiser, OneStep
from t2ikit.core.rng import Draws
from t2ikit.distillation.configs import StudentConfig
from t2ikit.distillation.denoiser import CleanDenoiser


class Student(OneStep):
    """A one-step generator, or one of a few steps, with the network of a denoiser.

    Args:
        config: number of calls and where the first begins.
        network: the denoiser, whose weights it begins with.
    """

    def __init__(self, config: StudentConfig, network: Denoiser) -> None:
        super().__init__()
        self.config, self.calls = config, config.calls
        self.denoiser = CleanDenoiser(network)
        self.super_resolution = network.super_resolution
        self.image_size, self.image_channels = network.image_size, network.image_channels
        self.start = min(config.start or 1.0, self.denoiser.last)

    def forward(self, batch: Batch, draws: Draws) -> Prediction:
        """Images for the batch's captions, from noise; of a few calls, a random one carries the gradient."""
        condition, size = batch.condition, (batch.images.shape[-2], batch.images.shape[-1])
        if self.super_resolution is not None:
            condition = self.super_resolution.augmented(condition, size, draws)
        with torch.no_grad():
            inputs = self._inputs(condition, size, draws)
        x, level = inputs[0], self._level(0, inputs[0])
        if self.calls > 1:
            call = (draws.named("call").rand() * self.calls).long()  # (B,), each sample's
            x = torch.stack(inputs)[call, torch.arange(len(call), device=call.device)]
            level = self.start * (1 - call / self.calls)
        images = self.denoiser(x, self.denoiser.timesteps(level), condition)
        return Prediction([images], torch.ones(len(images), device=images.device), condition=condition)

    def generate(self, condition: Condition, draws: Draws, truncation: float = 1.0) -> list[Tensor]:
        """One level: images (B, 3, H, W), about in [-1, 1].

        `truncation` in [0, 1] shrinks the noise that the first call begins with.
        """
        for x in self._inputs(condition, self._size(condition), draws, truncation):
            last = x
        return [self.denoiser(last, self.denoiser.timesteps(self._level(self.calls - 1, last)), condition)]

    def augment(self, condition: Condition, draws: Draws, level: float) -> Condition:
        """The condition with its images to upscale at full size, with noise of `level`."""
        if self.super_resolution is None or condition.low_res is None:
            return condition
        return self.super_resolution.augmented(condition, self._size(condition), draws, level)

    def _level(self, call: int, x: Tensor) -> Tensor:
        """Noise levels t/T (B,) of call number `call`, evenly spaced downwards from the start."""
        return x.new_full((len(x),), self.start * (1 - call / self.calls))

    def _inputs(
        self, condition: Condition, size: tuple[int, int], draws: Draws, truncation: float = 1.0
    ) -> list[Tensor]:
        """What each call is given, (B, 3, H, W): noise, then the images of the call before with new noise."""
        noise = draws.randn(self.image_channels, *size) * truncation
        t = self.denoiser.timesteps(self._level(0, noise))
        inputs = [self.denoiser.levels(t)[1] * noise]
        for call in range(1, self.calls):
            clean = self.denoiser(inputs[-1], t, condition)
            fresh = draws.named(f"call {call}").randn(self.image_channels, *size)
            t = self.denoiser.timesteps(self._level(call, noise))
            inputs.append(self.denoiser.add_noise(clean, fresh, t))
        return inputs

    def _size(self, condition: Condition) -> tuple[int, int]:
        """Height and width of the images for a condition, pixels."""
        if self.super_resolution is None or condition.low_res is None:
            return self.image_size, self.image_size
        ratio = 1 if condition.noise_level is not None else self.super_resolution.ratio
        height, width = condition.low_res.shape[-2:]
        return height * ratio, width * ratio
