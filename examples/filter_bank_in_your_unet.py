"""One part in a model of your own: a filter-bank layer in a small U-Net, trained by plain PyTorch.

    python examples/filter_bank_in_your_unet.py --steps 200

The U-Net takes the noise away from drawings. Its middle layer mixes its kernel for each image from a bank
of four, by a style that is the caption's global text: nothing else of t2ikit's models is used.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
import typer
from torch import Tensor, nn

from t2ikit.data.configs import CreaturesConfig
from t2ikit.data.creatures.dataset import Creatures
from t2ikit.data.loader import BatchLoader
from t2ikit.text.builtin import BuiltinTextEncoder
from t2ikit.text.configs import BuiltinTextConfig
from t2ikit_gigagan import FilterBankConv2d

STYLE = 64


class YourUNet(nn.Module):
    """Down, a filter bank, up; (B, 3, H, W) and a style (B, STYLE) to (B, 3, H, W)."""

    def __init__(self, channels: int = 32) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, channels, 4, stride=2, padding=1)
        self.middle = FilterBankConv2d(channels, channels, style_width=STYLE, filters=4)
        self.up = nn.ConvTranspose2d(2 * channels, 3, 4, stride=2, padding=1)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """The clean image."""
        down = F.silu(self.down(x))
        middle = F.silu(self.middle(down, style))
        return x + self.up(torch.cat([down, middle], 1))


def main(
    steps: Annotated[int, typer.Option(min=1, help="Of 32 drawings each.")] = 200,
) -> None:
    """Train, and print the error at the beginning and at the end."""
    torch.manual_seed(0)
    encoder = BuiltinTextEncoder(BuiltinTextConfig(width=STYLE))
    shares = BatchLoader(Creatures(CreaturesConfig(count=2000)), seed=0, batch=32)
    model = YourUNet()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    errors = []
    for step in range(steps):
        batch = shares[step].batch(encoder, "cpu")
        noisy = batch.images + 0.5 * torch.randn_like(batch.images)
        loss = F.mse_loss(model(noisy, batch.condition.text.pooled), batch.images)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        errors.append(float(loss.detach()))
    tenth = max(1, steps // 10)
    print(f"error {sum(errors[:tenth]) / tenth:.4f} -> {sum(errors[-tenth:]) / tenth:.4f}")


if __name__ == "__main__":
    typer.run(main)
