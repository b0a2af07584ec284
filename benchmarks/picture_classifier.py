"""A classifier that names the image, out of all of a dataset: a judge trained apart from what it judges."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from train_creature_reader import roughen

BATCH, RATE = 128, 2e-3


class Block(nn.Module):
    """Two convolutions beside a shortcut; halves the image."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(inputs, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H/2, W/2)."""
        return F.relu(self.body(x) + self.shortcut(x))


class ImageClassifier(nn.Module):
    """Logits (B, classes) of images (B, 3, 32, 32) in [-1, 1]."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(3, 32, 5, stride=2, padding=2),
            nn.ReLU(),
            Block(32, 64),
            Block(64, 128),
            nn.Flatten(),
        )
        self.head = nn.Linear(128 * 16, classes)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, 32, 32) to (B, classes)."""
        return self.head(self.trunk(images))


def shift(images: Tensor, generator: torch.Generator) -> Tensor:
    """Turn, scale and move each image a little."""
    n = len(images)
    angle, scale, move = (torch.rand(n, k, generator=generator) * 2 - 1 for k in (1, 1, 2))
    angle, scale = 0.12 * angle[:, 0], 1 + 0.1 * scale[:, 0]
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(n, 2, 2)
    affine = torch.cat([turn * scale[:, None, None], 0.12 * move[:, :, None]], 2)
    grid = F.affine_grid(affine, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def varied(images: Tensor, generator: torch.Generator) -> Tensor:
    """What a model might make of drawings: moved, bent, blurred, noisy, of other contrast."""
    return roughen(shift(images, generator), mirror=False)


def train_classifier(
    images: Tensor,
    steps: int,
    seed: int,
    tell: Callable[[str], None] = print,
    labels: Tensor | None = None,
) -> ImageClassifier:
    """Learn the classes of N images (N, 3, 32, 32) in [-1, 1], each in many variations.

    `labels` (N,) are integers from 0; None tells every image from every other.
    """
    labels = torch.arange(len(images)) if labels is None else labels
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = ImageClassifier(int(labels.max()) + 1).train()
        optimiser = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
        began = time.perf_counter()
        for step in range(1, steps + 1):
            place = torch.randint(len(images), (BATCH,), generator=generator)
            logits = net(varied(images[place], generator))
            loss = F.cross_entropy(logits, labels[place], label_smoothing=0.1)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            if step % 200 == 0:
                seconds = time.perf_counter() - began
                tell(f"classifier: step {step}, loss {float(loss.detach()):.2f}, {seconds:.0f} s")
    return net.eval()


def open_classifier(
    path: Path | None, images: Tensor, steps: int, seed: int, tell: Callable[[str], None] = print
) -> ImageClassifier:
    """The classifier kept in `path`, or one that is trained, and kept there where a path is given."""
    if path is None or not path.is_file():
        net = train_classifier(images, steps, seed, tell)
        if path is not None:
            beside = path.with_name(f".{path.name}.writing")
            save_file(net.state_dict(), beside)
            os.replace(beside, path)  # so that it is there whole or not at all
        return net
    net = ImageClassifier(len(images))
    net.load_state_dict(load_file(path))
    return net.eval()


@torch.no_grad()
def ranks(net: ImageClassifier, images: Tensor, truth: Tensor) -> Tensor:
    """Place (B,) of each image's true class in the classifier's order; 0 is its first guess."""
    logits = net(images)
    return (logits > logits.gather(1, truth[:, None])).sum(1)
