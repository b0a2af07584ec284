"""Reads the attributes of a drawn creature: a small classifier, shipped with its weights.

It was trained on drawings apart from any model (`benchmarks/train_creature_reader.py`) and is used in no
loss, teacher or choice of checkpoint: only to judge.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

import torch
import torch.nn.functional as F
from safetensors.torch import load
from torch import Tensor, nn

from t2ikit.data.creatures_grammar import ACTIONS, COLOURS, EYES, SPECIES, Attributes

SIZE = 32
CONFIDENCE = 0.5
WEIGHTS = "creature_reader.safetensors"
# Each head's classes; the second colour and the eyes may be absent.
HEADS: dict[str, tuple[str | None, ...]] = {
    "first": COLOURS,
    "second": (*COLOURS, None),
    "species": SPECIES,
    "action": ACTIONS,
    "eyes": (*EYES, None),
    "readable": ("yes", None),
}


class ReaderNet(nn.Module):
    """Convolutional classifier of 32-px pictures with one linear head an attribute."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        widths = [width, 2 * width, 3 * width, 4 * width]
        layers: list[nn.Module] = []
        before = 3
        for place, after in enumerate(widths):
            stride = 1 if place == 0 else 2
            layers += [nn.Conv2d(before, after, 3, stride, 1), nn.GroupNorm(8, after), nn.SiLU()]
            before = after
        self.trunk = nn.Sequential(*layers, nn.Flatten())  # (B, 4 width · 4 · 4)
        self.heads = nn.ModuleDict(
            {name: nn.Linear(before * 16, len(kinds)) for name, kinds in HEADS.items()}
        )

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Logits (B, classes) of each head for pictures (B, 3, 32, 32) in [-1, 1]."""
        features = self.trunk(images)
        return {name: head(features) for name, head in self.heads.items()}


@dataclass(frozen=True)
class Reading:
    """What was read off one picture; None is "unreadable" (for eyes: or absent)."""

    colours: tuple[str, ...] | None
    species: str | None
    action: str | None
    eyes: str | None

    def agrees(self, wanted: Attributes) -> dict[str, bool]:
        """Whether each attribute that a caption names was read."""
        named = {name: getattr(wanted, name) for name in ("colours", "species", "action", "eyes")}
        return {name: getattr(self, name) == value for name, value in named.items() if value is not None}


class CreatureReader:
    """The shipped reader."""

    def __init__(self) -> None:
        self.net = ReaderNet()
        data = resources.files("t2ikit.metrics").joinpath(WEIGHTS).read_bytes()
        self.net.load_state_dict({name: tensor.float() for name, tensor in load(data).items()})
        self.net.eval()

    @torch.no_grad()
    def read(self, images: Tensor, batch: int = 256) -> list[Reading]:
        """Read pictures (N, 3, H, W) in [-1, 1] of any size."""
        readings: list[Reading] = []
        for chunk in images.float().split(batch):
            logits = self.net(to_reader_size(chunk))
            readings += _readings({name: value.softmax(1) for name, value in logits.items()})
        return readings


def to_reader_size(images: Tensor) -> Tensor:
    """Resize pictures to 32 px, antialiased."""
    if images.shape[-2:] == (SIZE, SIZE):
        return images
    return F.interpolate(images, size=(SIZE, SIZE), mode="bilinear", antialias=True, align_corners=False)


def _readings(shares: dict[str, Tensor]) -> list[Reading]:
    """Class shares (B, classes) of each head to readings; below half nothing is said."""
    best = {name: share.max(1) for name, share in shares.items()}
    readings = []
    for row in range(len(shares["first"])):
        said: dict[str, str | None] = {}
        sure: dict[str, bool] = {}
        for name, kinds in HEADS.items():
            sure[name] = float(best[name].values[row]) >= CONFIDENCE
            said[name] = kinds[int(best[name].indices[row])] if sure[name] else None
        if said["readable"] is None:
            readings.append(Reading(None, None, None, None))
            continue
        colours = tuple(c for c in (said["first"], said["second"]) if c is not None)
        known = said["first"] is not None and sure["second"]
        readings.append(Reading(colours if known else None, said["species"], said["action"], said["eyes"]))
    return readings
