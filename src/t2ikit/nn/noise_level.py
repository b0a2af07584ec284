"""Tells a super-resolution network how much noise its low-resolution image has (arXiv 2205.11487, 2.4)."""

from __future__ import annotations

from torch import Tensor, nn


class NoiseLevelEmbedding(nn.Module):
    """Tells a network the level of the noise: sines and cosines, as of a timestep, and two layers.

    Args:
        width: of what it gives.
    """

    FREQUENCIES = 64
    TOP = 1000.0
    """What level 1 is counted as, so that the sines are those of timesteps."""

    def __init__(self, width: int) -> None:
        from diffusers.models.embeddings import TimestepEmbedding, Timesteps  # lazily: it takes seconds

        super().__init__()
        self.waves = Timesteps(self.FREQUENCIES, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.layers = TimestepEmbedding(self.FREQUENCIES, width)

    def forward(self, level: Tensor, like: Tensor) -> Tensor:
        """Levels (B,) in [0, 1] to (B, width), of the kind of `like`."""
        embedded: Tensor = self.layers(self.waves(level * self.TOP).to(like.dtype))
        return embedded
