"""The denoiser: text tower, U-Net and noise schedule.

Sources: v-prediction, arXiv 2202.00512 (section 4 and appendix D); cosine schedule, arXiv 2102.09672
(equation 17); zero terminal SNR, arXiv 2305.08891 (algorithm 1); caption dropout, arXiv 2207.12598.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler
from torch import Tensor

from t2ikit import Batch, Condition, Denoiser, Draws, Prediction, TextEmbedding, TextTower, UserError
from t2ikit_imagen.configs import UNetConfig
from t2ikit_imagen.unet import build_unet


class ImagenDenoiser(Denoiser):
    """A text-conditional denoiser trained on v-prediction.

    Args:
        config: of the U-Net and the schedule.
        image_size: height and width of the pictures, pixels.
        text_width, text_length: D and L of the frozen text encoder.
    """

    alphas_cumprod: Tensor

    def __init__(self, config: UNetConfig, image_size: int, text_width: int, text_length: int) -> None:
        super().__init__()
        self.image_size, self.patch = image_size, config.patch
        self.caption_dropout = config.caption_dropout
        self.tower = TextTower(text_width, text_length, config.text_width, config.text_layers)
        self.unet = build_unet(config, image_size)
        scheduler = DDPMScheduler(
            num_train_timesteps=config.timesteps,
            beta_schedule="squaredcos_cap_v2",
            prediction_type="v_prediction",
            rescale_betas_zero_snr=True,
            timestep_spacing="trailing",
            clip_sample=False,
        )
        self.scheduler_config: dict[str, Any] = dict(scheduler.config)
        self.register_buffer("alphas_cumprod", scheduler.alphas_cumprod.float(), persistent=False)

    def denoise(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """v for noisy pictures x (B, 3, H, W) at timesteps t (B,)."""
        if x.shape[-2:] != (self.image_size, self.image_size):
            raise UserError(
                "the denoiser was given pictures of another size",
                expected=f"(B, 3, {self.image_size}, {self.image_size})",
                got=tuple(x.shape),
                fix="resize the pictures, or build the model for their size",
            )
        text: TextEmbedding = self.tower(condition.text)
        folded = F.pixel_unshuffle(x, self.patch)  # (B, 3 patch², H / patch, W / patch)
        v = self.unet(
            folded,
            t,
            encoder_hidden_states=text.tokens,
            encoder_attention_mask=text.mask,
            timestep_cond=text.pooled,
        ).sample
        return F.pixel_shuffle(v, self.patch)

    def forward(self, batch: Batch, draws: Draws) -> Prediction:
        """Noise the pictures, drop some captions, predict v, and derive the clean picture."""
        t = (draws.rand() * len(self.alphas_cumprod)).long()
        keep = draws.rand() >= self.caption_dropout
        noise = draws.randn(*batch.images.shape[1:])
        signal = self.alphas_cumprod[t].sqrt()[:, None, None, None]
        sigma = (1 - self.alphas_cumprod[t]).sqrt()[:, None, None, None]
        x = signal * batch.images + sigma * noise
        text, empty = batch.condition.text, batch.condition.empty.expand(len(batch))
        condition = Condition(batch.condition.captions, text.where(keep, empty), batch.condition.empty)
        v = self.denoise(x, t, condition).float()
        alphas = self.alphas_cumprod[t]
        return Prediction(
            images=[signal * x - sigma * v],
            image_weight=alphas,
            output=v,
            target=signal * noise - sigma * batch.images,
            timestep=t,
            snr=alphas / (1 - alphas).clamp_min(torch.finfo(torch.float32).tiny),
        )
