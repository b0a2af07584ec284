"""The vision-aided critic: small heads on the features of a frozen CLIP.

Sources: vision-aided GAN, arXiv 2112.09130; GigaGAN, arXiv 2303.05511 (section 3.3): features at several
depths, a fixed random projection, 3 x 3 convolutions modulated by the text beside unconditional ones.

Letters: B batch, n patches, D width of the vision tower, C channels of the heads, g g patches as an image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t2ikit import (
    ClipPixels,
    Critic,
    Draws,
    FrozenModel,
    TextEmbedding,
    TextTower,
    UserError,
    exclude_from_muon,
    open_clip,
)
from t2ikit_gigagan.configs import VisionCriticConfig
from t2ikit_gigagan.filter_bank import FilterBankConv2d

Augment = Callable[[list[Tensor], Draws], list[Tensor]]


class VisionTower(FrozenModel):
    """A CLIP's vision tower, read at several depths.

    Args:
        model: transformers' vision model with eager attention.
        pixels: how it wants its images.
    """

    def __init__(self, model: nn.Module, pixels: ClipPixels) -> None:
        super().__init__(model)
        self.pixels = pixels
        self.width: int = self.model.config.hidden_size
        self.layers: int = self.model.config.num_hidden_layers

    def maps(self, images: Tensor, depths: Sequence[int]) -> list[Tensor]:
        """Images (B, 3, H, W) in [-1, 1] to patches after each of these layers, (B, D, g, g).

        The channels of every patch have mean 0 and variance 1: depths differ much in size.
        """
        pixels = self.pixels(images)
        patch = self.model.config.patch_size
        g = self.pixels.size[0] // patch
        states = self.on(images.device)(pixel_values=pixels, output_hidden_states=True).hidden_states
        patches = [F.layer_norm(states[depth][:, 1:].float(), (self.width,)) for depth in depths]
        return [x.transpose(1, 2).unflatten(2, (g, -1)) for x in patches]  # (B, n, D) to (B, D, g, g)


class VisionHead(nn.Module):
    """Features and text to one logit: psi(x, text) + conv(x), 3 x 3, averaged over positions.

    Args:
        channels: C of the features.
        text_width: of the global text.
    """

    def __init__(self, channels: int, text_width: int) -> None:
        super().__init__()
        self.plain = nn.Conv2d(channels, 1, 3, padding=1)
        exclude_from_muon(self.plain.weight)
        self.hidden = FilterBankConv2d(channels, channels, 3, style_width=text_width)
        self.judge = FilterBankConv2d(channels, 1, 3, style_width=text_width, demodulate=False)

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        """(B, C, g, g) and global text (B, text_width) to (B,)."""
        y = F.leaky_relu(self.hidden(x, text), 0.2) * math.sqrt(2)
        return (self.plain(x).float() + self.judge(y, text).float()).mean((1, 2, 3))


class VisionAidedCritic(Critic):
    """Judges the full image by what a frozen CLIP sees of it, beside a text.

    Trains its heads and its text tower alone; the frozen tower is no submodule.

    Args:
        config: its options.
        text_width, text_length: D and L of the frozen text encoder.
        augment: applied to real and fake images alike.
        seed: of the random projection.

    Raises:
        UserError: there is no such CLIP, or it has fewer layers than `depths`.
    """

    projection: Tensor

    def __init__(
        self,
        config: VisionCriticConfig,
        text_width: int,
        text_length: int,
        augment: Augment | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        clip, pixels = open_clip(config.model, attention="eager")
        self.vision, self.augment = VisionTower(clip.vision_model, pixels), augment
        layers, depths, channels = self.vision.layers, config.depths, config.channels
        if not 1 <= depths <= layers:
            raise UserError(
                f"vision-aided critic: {config.model} has {layers} layers",
                expected=f"depths from 1 to {layers}",
                got=depths,
                fix=f"choose at most {layers} depths, or another model",
            )
        self.depths = [round(layers * (i + 1) / depths) for i in range(depths)]
        generator = torch.Generator().manual_seed(seed)
        projection = torch.randn(depths, channels, self.vision.width, generator=generator)
        self.register_buffer("projection", projection / math.sqrt(self.vision.width))
        self.tower = TextTower(text_width, text_length, config.tower_width, depth=0)
        self.judges = nn.ModuleList(VisionHead(channels, config.tower_width) for _ in range(depths))

    def features(self, levels: Sequence[Tensor], draws: Draws) -> list[Tensor]:
        """The last level, (B, 3, H, W) in [-1, 1], to projected features (B, C, g, g) at each depth."""
        images = [levels[-1]]
        if self.augment is not None:
            images = self.augment(images, draws)
        maps = self.vision.maps(images[0], self.depths)
        return [
            F.conv2d(x, matrix[:, :, None, None]) for x, matrix in zip(maps, self.projection, strict=True)
        ]

    def read(self, text: TextEmbedding) -> Tensor:
        """The global text (B, D) of its own tower."""
        return self.tower(text).pooled

    def heads(self, features: list[Tensor], text: TextEmbedding | Tensor) -> list[Tensor]:
        """Logits, each (B,), one for each depth."""
        pooled = self.read(text) if isinstance(text, TextEmbedding) else text
        return [judge(x, pooled) for judge, x in zip(self.judges, features, strict=True)]
