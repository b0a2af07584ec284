"""A plugin file for the tests: a toy denoiser whose pixels attend to each other."""

from __future__ import annotations

from diffusers.models.attention_processor import Attention

from t2ikit import GeneratorSpec, hookimpl
from t2ikit.testing.toys import ToyDenoiser


class Attending(ToyDenoiser):
    """Attention of diffusers before the two convolutions."""

    def __init__(self, text_width, image_size):
        super().__init__(text_width, image_size)
        self.attention = Attention(query_dim=3, heads=1, dim_head=4)

    def denoise(self, x, t, condition, previous=None):
        seen = self.attention(x.flatten(2).transpose(1, 2))  # (B, h w, 3)
        return super().denoise(x + seen.transpose(1, 2).reshape(x.shape), t, condition)


@hookimpl
def t2ikit_generators():
    return [GeneratorSpec("denoiser", lambda config, c: Attending(c.text_width, c.image_size))]
