"""A loss in a loop of your own: the matching-aware loss teaches your critic to read captions.

    python examples/matching_in_your_loop.py --steps 300

A critic that is trained on real and fake images alone may ignore the caption. With `matching_aware` a real
image beside a wrong caption counts as fake, too. Prints how often a real image scores higher beside its
own caption than beside a wrong one, on held-out drawings, with and without the loss.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
import typer
from torch import Tensor, nn

from t2ikit.core.batch import Batch
from t2ikit.data.configs import CreaturesConfig
from t2ikit.data.creatures.dataset import Creatures
from t2ikit.data.loader import BatchLoader
from t2ikit.text.builtin import BuiltinTextEncoder
from t2ikit.text.configs import BuiltinTextConfig
from t2ikit_gigagan import logistic_critic, matching_aware

WIDTH = 64


class YourCritic(nn.Module):
    """Images (B, 3, 32, 32) and pooled text (B, WIDTH) to logits (B,)."""

    def __init__(self) -> None:
        super().__init__()
        self.see = nn.Sequential(
            nn.Conv2d(3, 32, 4, 2, 1), nn.SiLU(), nn.Conv2d(32, 64, 4, 2, 1), nn.SiLU(),
            nn.Conv2d(64, 128, 4, 2, 1), nn.SiLU(), nn.Flatten(), nn.Linear(128 * 16, 128),
        )  # fmt: skip
        self.read = nn.Sequential(nn.Linear(WIDTH, 128), nn.SiLU(), nn.Linear(128, 128))
        self.plain = nn.Linear(128, 1)

    def forward(self, images: Tensor, text: Tensor) -> Tensor:
        """High for real images that fit the text."""
        seen = self.see(images)
        return 10 * F.cosine_similarity(seen, self.read(text)) + self.plain(seen)[:, 0]


def blurred(images: Tensor) -> Tensor:
    """What stands for a generator's images."""
    return F.avg_pool2d(images, 5, 1, 2)


def right(critic: YourCritic, batch: Batch) -> float:
    """Share of real images that fit their own caption better than a wrong one."""
    with torch.no_grad():
        own = critic(batch.images, batch.condition.text.pooled)
        wrong = critic(batch.images, batch.wrong.pooled)
    return float((own > wrong)[batch.mismatch_mask.bool()].float().mean())


def train(matching: bool, steps: int, shares: BatchLoader, encoder: BuiltinTextEncoder) -> YourCritic:
    """Your loop."""
    torch.manual_seed(0)
    critic = YourCritic()
    optimizer = torch.optim.AdamW(critic.parameters(), lr=1e-3)
    for step in range(steps):
        batch = shares[step].batch(encoder, "cpu")
        text, wrong, fake = batch.condition.text.pooled, batch.wrong.pooled, blurred(batch.images)
        loss = logistic_critic([critic(batch.images, text)], [critic(fake, text)])
        if matching:
            beside_wrong = [critic(batch.images, wrong)], [critic(fake, wrong)]
            loss = loss + matching_aware(*beside_wrong, batch.mismatch_mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return critic


def main(
    steps: Annotated[int, typer.Option(min=1, help="Of 32 drawings each, twice.")] = 300,
) -> None:
    """Train both and compare."""
    encoder = BuiltinTextEncoder(BuiltinTextConfig(width=WIDTH))
    dataset = Creatures(CreaturesConfig(count=6000))
    held_out = BatchLoader(dataset, 1, 256, split="validation")[0].batch(encoder, "cpu")
    for matching in (False, True):
        critic = train(matching, steps, BatchLoader(dataset, 0, 32), encoder)
        print(
            f"matching-aware loss {'on: ' if matching else 'off:'} {right(critic, held_out):.0%} read rightly"
        )


if __name__ == "__main__":
    typer.run(main)
