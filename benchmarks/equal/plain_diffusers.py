"""What a newcomer writes with diffusers alone: its training examples, with a text-conditional U-Net."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler, UNet2DConditionModel
from diffusers.training_utils import EMAModel
from torch import Tensor, nn

from equal.rival import Rival
from t2ikit.core.batch import Batch, TextEmbedding

WARMUP, DROPOUT, GRADIENT_NORM = 500, 0.1, 1.0


class PlainDiffusers(Rival):
    """`UNet2DConditionModel`, `DDPMScheduler`, AdamW, `EMAModel`, and DPM-Solver++ to sample."""

    name = "diffusers script"
    packages = ("diffusers",)
    rates = (1e-4, 3e-4, 1e-3)
    guidances = (7.5, 3.0)
    steps = 50
    documented = (
        "diffusers' `examples/unconditional_image_generation/train_unconditional.py`: AdamW at 1e-4 with "
        "betas 0.95 and 0.999, weight decay 1e-6, 500 steps of warm-up, cosine decay, gradients clipped "
        "to 1, averaged weights, linear schedule, noise prediction. The text as in "
        "`examples/text_to_image`, dropped with 0.1; 50 steps at guidance 7.5, as its text-to-image "
        "pipelines have them. `UNet2DConditionModel` of 32, 64 and 96 channels, one block each"
    )

    def build(self) -> None:
        """The U-Net, its average, the schedule and AdamW."""
        channels = (8, 16) if self.toy else (32, 64, 96)
        deeper = len(channels) - 1
        self.unet = UNet2DConditionModel(
            sample_size=self.task.size,
            in_channels=3,
            out_channels=3,
            layers_per_block=1,
            block_out_channels=channels,
            down_block_types=("DownBlock2D", *["CrossAttnDownBlock2D"] * deeper),
            up_block_types=(*["CrossAttnUpBlock2D"] * deeper, "UpBlock2D"),
            cross_attention_dim=self.task.text_width,
            norm_num_groups=8 if self.toy else 32,
        )
        self.noise = DDPMScheduler(num_train_timesteps=1000)
        self.average = copy.deepcopy(self.unet).eval()
        self.ema = EMAModel(
            self.unet.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=0.75
        )
        self.optimizer = torch.optim.AdamW(
            self.unet.parameters(), lr=self.rate, betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8
        )
        self.count, self.empty = 0, self.task.encode([""])

    def step(self, batch: Batch, done: float) -> None:
        """As the example has it."""
        warm = min(1.0, (self.count + 1) / WARMUP)
        self.optimizer.param_groups[0]["lr"] = self.rate * warm * (1 + math.cos(math.pi * done)) / 2
        tokens, mask = self.dropped(self.text(batch))
        noise = torch.randn_like(batch.images)
        t = torch.randint(self.noise.config.num_train_timesteps, (len(noise),))
        noisy = self.noise.add_noise(batch.images, noise, t)
        predicted = self.unet(noisy, t, tokens, encoder_attention_mask=mask).sample
        F.mse_loss(predicted, noise).backward()
        nn.utils.clip_grad_norm_(self.unet.parameters(), GRADIENT_NORM)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.ema.step(self.unet.parameters())
        self.count += 1

    def dropped(self, text: TextEmbedding) -> tuple[Tensor, Tensor]:
        """Tokens (B, L, D) and mask (B, L), of the empty caption for some."""
        keep = torch.rand(len(text.mask)) >= DROPOUT
        tokens = torch.where(keep[:, None, None], text.tokens, self.empty.tokens)
        return tokens, torch.where(keep[:, None], text.mask, self.empty.mask)

    def finish(self) -> None:
        """Take the averaged weights."""
        self.ema.copy_to(self.average.parameters())

    @property
    def trained(self) -> Sequence[nn.Module]:
        """The U-Net."""
        return [self.unet]

    @property
    def sampled(self) -> nn.Module:
        """The averaged U-Net."""
        return self.average

    @torch.no_grad()
    def sample(self, captions: Sequence[str], text: TextEmbedding, guidance: float, steps: int) -> Tensor:
        """DPM-Solver++ with classifier-free guidance, as a pipeline of diffusers has it."""
        solver = DPMSolverMultistepScheduler.from_config(self.noise.config)
        solver.set_timesteps(steps)
        count = len(captions)
        tokens = torch.cat([self.empty.tokens.expand(count, -1, -1), text.tokens])
        mask = torch.cat([self.empty.mask.expand(count, -1), text.mask])
        x = torch.randn(count, 3, self.task.size, self.task.size)
        for t in solver.timesteps:
            both = self.average(torch.cat([x, x]), t, tokens, encoder_attention_mask=mask).sample
            without, with_text = both.chunk(2)
            x = solver.step(without + guidance * (with_text - without), t, x).prev_sample
        return x
