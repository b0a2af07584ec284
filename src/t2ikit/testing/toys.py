"""The smallest models that obey the interfaces in full, for tests: they run in milliseconds.

Weights come from torch's global generator, as with any module: call `torch.manual_seed` first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t2ikit.core.batch import Batch, Condition, Prediction, TextEmbedding
from t2ikit.core.interfaces import Critic, Denoiser, OneStep
from t2ikit.core.rng import Draws, derive_seed

if TYPE_CHECKING:
    from t2ikit.runs.run import Run

TIMESTEPS = 1000


def cosine_alphas(steps: int = TIMESTEPS) -> Tensor:
    """Cumulative alpha (T,) of the cosine schedule, rescaled to zero terminal SNR.

    Sources: arXiv 2102.09672, equation 17, with betas up to 0.999; arXiv 2305.08891, algorithm 1.
    """
    place = torch.arange(steps + 1, dtype=torch.float64) / steps
    alpha_bar = torch.cos((place + 0.008) / 1.008 * math.pi / 2) ** 2
    betas = (1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=0.999)
    root = torch.cumprod(1 - betas, 0).sqrt()
    root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    return (root**2).float()


class ToyDenoiser(Denoiser):
    """Two convolutions that predict v.

    Args:
        text_width: D of the text encoder.
        image_size: height and width, pixels.
    """

    caption_dropout = 0.1
    shape_multiple = 1
    alphas_cumprod: Tensor

    def __init__(self, text_width: int, image_size: int, width: int = 8) -> None:
        super().__init__()
        self.image_size = image_size
        self.scheduler_config = {
            "num_train_timesteps": TIMESTEPS,
            "prediction_type": "v_prediction",
            "beta_schedule": "squaredcos_cap_v2",
            "rescale_betas_zero_snr": True,
            "timestep_spacing": "trailing",
            "clip_sample": False,
        }
        self.register_buffer("alphas_cumprod", cosine_alphas(), persistent=False)
        self.text = nn.Linear(text_width, width)
        self.into = nn.Conv2d(3, width, 3, padding=1)
        self.out = nn.Conv2d(width, 3, 3, padding=1)

    def denoise(self, x: Tensor, t: Tensor, condition: Condition, previous: Tensor | None = None) -> Tensor:
        """v for noisy images x (B, 3, H, W) at timesteps t (B,)."""
        scale = self.text(condition.text.pooled) * (1 + t[:, None] / TIMESTEPS)  # (B, width)
        return self.out(F.silu(self.into(x) + scale[:, :, None, None]))

    def forward(self, batch: Batch, draws: Draws) -> Prediction:
        """Noise the images, drop a tenth of the captions, predict v."""
        t = draws.named("timestep").randint(TIMESTEPS)  # (B,)
        noise = draws.named("noise").randn(*batch.images.shape[1:])
        keep = draws.named("dropout").rand() >= self.caption_dropout
        alpha = self.alphas_cumprod[t]
        signal, sigma = alpha.sqrt()[:, None, None, None], (1 - alpha).sqrt()[:, None, None, None]
        x = signal * batch.images + sigma * noise
        text = batch.condition.text.where(keep, batch.condition.empty.expand(len(batch)))
        v = self.denoise(x, t, replace(batch.condition, text=text)).float()
        return Prediction(
            images=[signal * x - sigma * v],
            image_weight=alpha,
            output=v,
            target=signal * noise - sigma * batch.images,
            timestep=t,
            snr=alpha / (1 - alpha),
            prediction_type="v_prediction",
        )


class ToyGAN(OneStep):
    """A linear map of latent and text to a pyramid of three levels.

    Args:
        text_width: D of the text encoder.
        image_size: height and width of the last level, pixels, a multiple of 4.
    """

    def __init__(self, text_width: int, image_size: int, latent: int = 8) -> None:
        super().__init__()
        self.image_size, self.latent = image_size, latent
        self.text = nn.Linear(text_width, 8)
        self.draw = nn.Linear(latent + 8, 3 * image_size**2)

    def generate(self, condition: Condition, draws: Draws, truncation: float = 1.0) -> list[Tensor]:
        """Levels of a quarter, a half and all of the size, each (B, 3, h, w)."""
        z = truncation * draws.randn(self.latent)
        x = self.draw(torch.cat([z, self.text(condition.text.pooled)], 1)).float().tanh()
        full = x.view(-1, 3, self.image_size, self.image_size)
        return [F.avg_pool2d(full, 4), F.avg_pool2d(full, 2), full]

    def forward(self, batch: Batch, draws: Draws) -> Prediction:
        """A pyramid for each caption."""
        images = self.generate(batch.condition, draws.named("latent"))
        return Prediction(images, torch.ones(len(batch), device=images[-1].device))


class ToyCritic(Critic):
    """One convolution on every level; logits from the image alone and from its fit to the text.

    Args:
        text_width: D of the text encoder.
    """

    def __init__(self, text_width: int, width: int = 16) -> None:
        super().__init__()
        self.see = nn.Conv2d(3, width, 3, stride=2)
        self.text = nn.Linear(text_width, width)
        self.judge = nn.Linear(width, 1)

    def features(self, levels: Sequence[Tensor], draws: Draws) -> list[Tensor]:
        """(B, width) of each level, after one random contrast for all levels of a sample."""
        gain = 1 + 0.2 * draws.named("augment").randn(1, 1, 1)
        return [F.silu(self.see(level * gain)).mean((2, 3)) for level in levels]

    def heads(self, features: Any, text: TextEmbedding) -> list[Tensor]:
        """Logits (B,), one for each level."""
        words = self.text(text.pooled)  # (B, width)
        return [(self.judge(seen)[:, 0] + (seen * words).sum(1)).float() for seen in features]


def toy_text(captions: Sequence[str], width: int = 16, length: int = 8) -> TextEmbedding:
    """A random vector for each word, the same for equal words; the empty caption has one token."""
    tokens, mask = torch.zeros(len(captions), length, width), torch.zeros(len(captions), length).bool()
    for row, caption in enumerate(captions):
        words = (caption.split() or [""])[:length]
        for place, word in enumerate(words):
            tokens[row, place] = torch.randn(
                width, generator=torch.Generator().manual_seed(derive_seed(word))
            )
        mask[row, : len(words)] = True
    pooled = tokens.sum(1) / mask.sum(1, keepdim=True)
    return TextEmbedding(tokens, mask, pooled)


def toy_condition(captions: Sequence[str], width: int = 16, length: int = 8) -> Condition:
    """Captions with their toy embedding."""
    return Condition(tuple(captions), toy_text(captions, width, length), toy_text([""], width, length))


COLOURS = ("red", "green", "blue", "grey", "white")


def toy_batch(count: int = 8, image_size: int = 32, width: int = 16, length: int = 8, seed: int = 0) -> Batch:
    """Noise images (count, 3, S, S) in [-1, 1] with captions that name colours."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "toy_batch"))
    images = torch.rand(count, 3, image_size, image_size, generator=generator) * 2 - 1
    own = [f"a {COLOURS[i % len(COLOURS)]} square" for i in range(count)]
    wrong = [f"a {COLOURS[i * 2 % len(COLOURS)]} square" for i in range(count)]
    return Batch(
        images=images,
        condition=toy_condition(own, width, length),
        wrong=toy_text(wrong, width, length),
        mismatch_mask=torch.tensor([float(a != b) for a, b in zip(own, wrong)]),
        all_captions=tuple(own),
        all_captions_text=toy_text(own, width, length),
        caption_index=torch.arange(count),
        keys=torch.arange(count) + 1000 * seed,
    )


SMALL_RUN = (
    "train.steps=1",
    "train.precision=no",
    "train.batch=2",
    "train.samples=1",
    "train.validation_images=2",
    "data.size=16",
    "data.count=40",
    "generator.channels=[16,16]",
    "generator.head_width=16",
    "generator.attention=[false,true]",
    "sampler.steps=2",
)
"""Settings of `toy_run`."""


def toy_run(folder: str | Path) -> Run:
    """Train the smallest U-Net of the imagen plugin for one step, on the CPU, in some seconds.

    Args:
        folder: in which the run folder `run` is made.
    """
    from t2ikit.recipes.read import read_recipe
    from t2ikit.registry.registry import Registry
    from t2ikit.training.start import start_run

    registry = Registry.load(["imagen"])
    recipe = read_recipe(registry, None, settings=SMALL_RUN)
    return start_run(registry, recipe, Path(folder) / "run", device="cpu", progress=False)
