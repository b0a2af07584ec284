"""MinImagen, trained as its own training script does."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from peers import stand_ins
from torch import Tensor, nn

from equal.rival import Rival, from_unit, to_unit
from t2ikit.core.batch import Batch, TextEmbedding

DROPOUT = 0.15


class MinImagen(Rival):
    """Its `Imagen` of one base U-Net, of the shape of its defaults, narrowed."""

    name = "MinImagen"
    packages = ("minimagen", "resize_right", "einops", "einops_exts")
    rates = (1e-4, 3e-4, 1e-3)
    guidances = (1.0, 3.0)
    steps = 1000
    documented = (
        "`minimagen/training.py` and the README of 0.0.9: Adam at 1e-4, L2 on the noise, 1,000 steps of "
        "DDPM, captions dropped with 0.15, `cond_scale` 1, no averaged weights. The default U-Net (levels "
        "1, 2, 4, one block each, attention on the lower two), 24 channels in place of 128. Import: a "
        "stand-in for torchvision"
    )

    def build(self) -> None:
        """The U-Net, `Imagen` and Adam."""
        with stand_ins("minimagen"):
            imagen, unet = (importlib.import_module(f"minimagen.{name}") for name in ("Imagen", "Unet"))
        self.imagen = imagen.Imagen(
            unets=unet.Unet(
                dim=8 if self.toy else 24,
                dim_mults=(1, 2) if self.toy else (1, 2, 4),
                num_resnet_blocks=1,
                layer_attns=(False, True) if self.toy else (False, True, True),
                layer_cross_attns=(False, True) if self.toy else (False, True, True),
                text_embed_dim=self.task.text_width,
            ),
            image_sizes=(self.task.size,),
            timesteps=self.steps,
            cond_drop_prob=DROPOUT,
            text_encoder_name="none",
            text_embed_dim=self.task.text_width,
        )
        self.unet: nn.Module = self.imagen.unets[0]
        self.optimizer = torch.optim.Adam(self.imagen.parameters(), lr=self.rate)

    def step(self, batch: Batch, done: float) -> None:
        """As `MinimagenTrain` has it, but for its clipping: `Imagen` then lists no parameters to clip."""
        text = self.text(batch)
        images = to_unit(batch.images)
        loss = self.imagen(images, text_embeds=text.tokens, text_masks=text.mask, unet_number=1)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    @property
    def trained(self) -> Sequence[nn.Module]:
        """The U-Net."""
        return [self.unet]

    @property
    def sampled(self) -> nn.Module:
        """The same."""
        return self.unet

    def sample(self, captions: Sequence[str], text: TextEmbedding, guidance: float, steps: int) -> Tensor:
        """Its own sampler, of fewer steps where they are asked for."""
        whole = self.imagen.noise_schedulers
        short = Respaced(whole[0], self.unet, steps)
        self.imagen.noise_schedulers = nn.ModuleList([short.scheduler])
        try:
            with short:
                images = self.imagen.sample(
                    text_embeds=text.tokens, text_masks=text.mask, cond_scale=guidance
                )
        finally:
            self.imagen.noise_schedulers = whole
        return from_unit(images)


class Respaced:
    """DDPM through some of the timesteps (arXiv 2102.09672, section 4), evenly spaced to the last one.

    While entered, the U-Net is given the timesteps that the shorter schedule's stand for.

    Args:
        whole: MinImagen's `GaussianDiffusion`.
        unet: that was trained with it.
        steps: to keep; all of them, and it is the schedule itself.
    """

    def __init__(self, whole: Any, unet: Any, steps: int) -> None:
        count = whole.num_timesteps
        self.kept = (torch.arange(1, steps + 1) * count / steps).round().long() - 1
        self.unet, self.method = unet, unet.forward_with_cond_scale
        self.scheduler = whole if steps == count else type(whole)(timesteps=max(20, steps))
        if steps != count:
            self._set(whole.alphas_cumprod.double()[self.kept])

    def _set(self, kept: Tensor) -> None:
        """Every buffer that sampling reads, of the cumulated alphas (steps,)."""
        before = F.pad(kept[:-1], (1, 0), value=1.0)
        betas = 1 - kept / before
        variance = betas * (1 - before) / (1 - kept)
        self.scheduler.num_timesteps = len(kept)
        found = {
            "posterior_log_variance_clipped": variance.clamp_min(1e-20).log(),
            "posterior_variance": variance,
            "posterior_mean_coef1": betas * before.sqrt() / (1 - kept),
            "posterior_mean_coef2": (1 - before) * (1 - betas).sqrt() / (1 - kept),
            "sqrt_recip_alphas_cumprod": (1 / kept).sqrt(),
            "sqrt_recipm1_alphas_cumprod": (1 / kept - 1).sqrt(),
        }
        for name, value in found.items():
            setattr(self.scheduler, name, value.float())

    def __enter__(self) -> None:
        def forward(x: Tensor, times: Tensor, **given: Any) -> Tensor:
            return self.method(x, self.kept[times], **given)

        self.unet.forward_with_cond_scale = forward

    def __exit__(self, *raised: object) -> None:
        del self.unet.forward_with_cond_scale
