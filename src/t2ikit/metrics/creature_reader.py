"""Reads what an image of `creatures` shows: colours, species, action and eyes, or that it cannot tell.

Used by the metric `prompt-accuracy` alone; no loss, teacher or choice of checkpoint may use it. Its
weights are made by `benchmarks/train_creature_reader.py` from drawings of every combination of
attributes, never-trained pairs included, and from images of nothing.
"""

from __future__ import annotations

import importlib.resources

import torch
import torch.nn.functional as F
from safetensors.torch import load
from torch import Tensor, nn

from t2ikit.data.creatures.grammar import ACTIONS, COLOURS, EYES, SPECIES, Attributes

READER_VERSION = 1
"""Raise it whenever the weights, the resize or the rule change: readings no longer compare."""
SIDE = 32
CONFIDENCE = 0.5
NO_SECOND = "none"
HEADS: dict[str, tuple[str, ...]] = {
    "first": COLOURS,
    "second": (*COLOURS, NO_SECOND),
    "species": SPECIES,
    "action": ACTIONS,
    "eyes": EYES,
}
"""What each head chooses from; its last output, beyond these, means unreadable."""
_WEIGHTS = "creature_reader.safetensors"


def to_reader(images: Tensor) -> Tensor:
    """Resize images (N, 3, H, W) to (N, 3, 32, 32), float32, antialiased bilinear."""
    images = images.float()
    if images.shape[-2:] == (SIDE, SIDE):
        return images
    return F.interpolate(images, size=(SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)


def _conv(width: int, out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, out, 3, stride, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True)
    )


class CreatureReaderNet(nn.Module):
    """Six convolutions, pooled by mean and by maximum, and one linear head an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            _conv(3, 24), _conv(24, 48, 2), _conv(48, 48), _conv(48, 96, 2), _conv(96, 96), _conv(96, 112, 2)
        )
        self.heads = nn.ModuleDict({name: nn.Linear(2 * 112, len(c) + 1) for name, c in HEADS.items()})

    def features(self, images: Tensor) -> Tensor:
        """What the heads see, (N, 224), of images (N, 3, 32, 32) in [-1, 1]."""
        maps = self.trunk(images)  # (N, 112, 4, 4)
        return torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Logits (N, choices + 1) of each head for images (N, 3, 32, 32) in [-1, 1]."""
        pooled = self.features(images)
        return {name: head(pooled) for name, head in self.heads.items()}


class CreatureReader:
    """Images to attributes, with the weights shipped in the package.

    Args:
        net: a trained network; the shipped one by default.
    """

    def __init__(self, net: CreatureReaderNet | None = None) -> None:
        self.net = (net or _shipped()).eval()

    @torch.no_grad()
    def __call__(self, images: Tensor, *, batch: int = 256) -> list[Attributes]:
        """Read images (N, 3, H, W) in [-1, 1], of any size, `batch` at a time, on the CPU.

        An attribute is None where it is unreadable: the network says so, or no choice has half of the
        probability. Body colours are read both or not at all.
        """
        readings: list[Attributes] = []
        for chunk in images.split(batch):
            logits = self.net(to_reader(chunk.cpu()))
            choices = [_choices(logits[name], known) for name, known in HEADS.items()]
            readings += [_attributes(*row) for row in zip(*choices)]
        return readings


def _choices(logits: Tensor, choices: tuple[str, ...]) -> list[str | None]:
    probability, index = logits.softmax(1).max(1)
    return [
        choices[i] if i < len(choices) and p >= CONFIDENCE else None
        for p, i in zip(probability.tolist(), index.tolist())
    ]


def _attributes(
    first: str | None, second: str | None, species: str | None, action: str | None, eyes: str | None
) -> Attributes:
    colours: tuple[str, ...] | None = None
    if first is not None and second is not None:
        colours = (first,) if second == NO_SECOND else (first, second)
    return Attributes(colours, species, action, eyes)


def _shipped() -> CreatureReaderNet:
    net = CreatureReaderNet()
    stored = load(importlib.resources.files("t2ikit.metrics").joinpath(_WEIGHTS).read_bytes())
    net.load_state_dict({name: value.float() for name, value in stored.items()})
    return net
