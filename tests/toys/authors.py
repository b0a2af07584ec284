"""A third party's denoiser and sampler, made of nothing but what `from t2ikit import ...` gives."""

from __future__ import annotations

import torch
from torch import nn

from t2ikit import (
    Config,
    Denoiser,
    DenoiserSampler,
    GeneratorSpec,
    SamplerConfig,
    SamplerSpec,
    TextTower,
    hookimpl,
    noise_schedule,
    noised_prediction,
)


class TinyConfig(Config):
    channels: int = 16
    """of the convolutions"""


class Tiny(Denoiser):
    """Two convolutions that are told the time and the text."""

    def __init__(self, config, context):
        super().__init__()
        self.image_size, self.caption_dropout = context.image_size, 0.1
        schedule = noise_schedule("sigmoid")
        self.scheduler_config = dict(schedule.config)
        self.register_buffer("alphas_cumprod", schedule.alphas_cumprod, persistent=False)
        self.tower = TextTower(context.text_width, context.text_length, config.channels, 1)
        self.told = nn.Linear(1 + config.channels, config.channels)
        self.first = nn.Conv2d(3, config.channels, 3, padding=1)
        self.last = nn.Conv2d(config.channels, 3, 3, padding=1)

    def denoise(self, x, t, condition, previous=None):
        text = self.tower(condition.text).pooled
        told = self.told(torch.cat([t[:, None] / 1000, text], 1))
        return self.last(torch.tanh(self.first(x) + told[:, :, None, None]))

    def forward(self, batch, draws):
        return noised_prediction(self, batch, draws, self.alphas_cumprod)


class Straight(DenoiserSampler[SamplerConfig]):
    """Euler steps on the straight path."""

    def denoise_loop(self, denoiser, x, steps, draws):
        for step in range(steps):
            sigma, after = 1 - step / steps, 1 - (step + 1) / steps
            clean = denoiser.at_flow(x, sigma)
            x = clean + after / sigma * (x - clean)
            yield x


@hookimpl
def t2ikit_generators():
    return [GeneratorSpec("tiny", Tiny, TinyConfig, "two convolutions")]


@hookimpl
def t2ikit_samplers():
    return [SamplerSpec("straight", lambda config, context: Straight(config), SamplerConfig)]
