"""The multi-scale input/output discriminator.

Source: GigaGAN (arXiv 2303.05511, section 3.3, equations 8 and 9): one trunk that smaller images enter
late; at every later level a predictor psi of 1 x 1 convolutions modulated by the text, plus an
unconditional one.

Letters: B batch, n images of a sample that have entered the trunk, C channels, h w one level.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t2ikit import Critic, Draws, TextEmbedding, TextTower, UserError, exclude_from_muon
from t2ikit_gigagan.attention import L2SelfAttention
from t2ikit_gigagan.configs import CriticConfig
from t2ikit_gigagan.contrastive import cosine_logits
from t2ikit_gigagan.filter_bank import FilterBankConv2d
from t2ikit_gigagan.generator import check_levels
from t2ikit_gigagan.resampling import downsample
from t2ikit_gigagan.words import Reading, WordHead

Augment = Callable[[Sequence[Tensor], Draws], list[Tensor]]


class TrunkBlock(nn.Module):
    """A residual block that halves the image, then the pixels look at each other.

    Args:
        in_channels, out_channels: C before and after.
        halve: false at the last level.
        head_width: channels of an attention head; 0: no attention.
    """

    def __init__(self, in_channels: int, out_channels: int, *, halve: bool, head_width: int) -> None:
        super().__init__()
        self.halve = halve
        self.attention = (
            L2SelfAttention(in_channels, head_width, double_backward=True) if head_width else None
        )
        self.first = nn.Conv2d(in_channels, in_channels, 3, padding=1)
        self.second = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.skip = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        for conv in (self.first, self.second, self.skip):
            nn.init.kaiming_normal_(conv.weight, nonlinearity="linear")

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to (B, C', h / 2, w / 2)."""
        if self.attention is not None:
            x = self.attention(x)
        y = F.leaky_relu(self.first(x), 0.2) * math.sqrt(2)
        if self.halve:
            x, y = downsample(x), downsample(y)
        return (self.skip(x) + F.leaky_relu(self.second(y), 0.2) * math.sqrt(2)) * math.sqrt(0.5)


class Predictor(nn.Module):
    """Features and text to one logit: psi(x, text) + conv(x), averaged over positions.

    The last layers are linear, so what they see is averaged first: the same logit, for less.

    Args:
        channels: C of the features.
        text_width: D of the global text; 0: there is no text.
        layers: modulated 1 x 1 convolutions.
    """

    def __init__(self, channels: int, text_width: int, layers: int = 4) -> None:
        super().__init__()
        self.plain = nn.Linear(channels, 1)
        exclude_from_muon(self.plain.weight)
        outputs = [channels] * (layers - 1) + [1]
        self.modulated = nn.ModuleList(
            FilterBankConv2d(channels, width, 1, style_width=text_width, demodulate=width > 1)
            for width in (outputs if text_width else [])
        )

    def forward(self, x: Tensor, text: Tensor | None) -> Tensor:
        """(B, C, h, w) and global text (B, D) to (B,)."""
        logit = self.plain(x.mean((2, 3)))[:, 0].float()
        if text is None or not len(self.modulated):
            return logit
        for layer in self.modulated[:-1]:
            x = F.leaky_relu(layer(x, text), 0.2) * math.sqrt(2)
        return logit + self.modulated[-1](x.mean((2, 3), keepdim=True), text).float().flatten()


class Embedding(nn.Module):
    """Where images and texts meet: one linear map of each, to unit norm.

    Source: the contrastive losses of a discriminator, XMC-GAN (arXiv 2101.04702, section 4.2).

    Args:
        features: C h w of an image at the trunk's end.
        text_width: D of the global text.
        width: E of the embedding.
    """

    def __init__(self, features: int, text_width: int, width: int) -> None:
        super().__init__()
        # checkpoints name the map of images `picture`
        self.picture, self.text = nn.Linear(features, width), nn.Linear(text_width, width)

    def forward(self, features: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, C, h, w) and global texts (P, D) to (B, E) and (P, E)."""
        image, words = self.picture(features.flatten(1)), self.text(text)
        return F.normalize(image.float(), dim=1), F.normalize(words.float(), dim=1)


@dataclass(frozen=True)
class Trunk:
    """What the trunk saw: for each level that has a predictor, features (n B, C, h, w) and n."""

    features: list[tuple[int, Tensor, int]]
    """(number of the level's predictor, features, n)"""
    places: Tensor | None = None
    """(B, C, h, w), the full images' features that words are looked for in; None: nowhere"""


class GigaCritic(Critic):
    """Judges a pyramid of images beside a text, at every pair of input and later level.

    No image passes a level twice: those that have entered are one batch from there on.

    Args:
        config: its options.
        image_size: of the last level, pixels.
        text_width, text_length: D and L of the frozen text encoder.
        augment: applied to real and fake images alike, all levels of a sample the same.

    Raises:
        UserError: levels that do not fit the size.
    """

    def __init__(
        self,
        config: CriticConfig,
        image_size: int,
        text_width: int,
        text_length: int,
        augment: Augment | None = None,
        image_channels: int = 3,
    ) -> None:
        super().__init__()
        check_levels(image_size, channels=config.channels, attention=config.attention)
        self.image_size, self.multiscale, self.augment = image_size, config.multiscale, augment
        self.tower = (
            TextTower(text_width, text_length, config.tower_width, config.tower_layers)
            if config.text
            else None
        )
        down = list(reversed(config.channels))  # from full size
        outputs = [*down[1:], down[-1]]
        self.sizes = [image_size >> level for level in range(len(down))]
        seen = len(down) if config.multiscale else 1
        self.from_rgb = nn.ModuleList(nn.Conv2d(image_channels, width, 1) for width in down[:seen])
        exclude_from_muon(*(layer.weight for layer in self.from_rgb))
        self.blocks = nn.ModuleList(
            TrunkBlock(
                width,
                outputs[level],
                halve=level < len(down) - 1,
                head_width=config.head_width if config.attention[-1 - level] else 0,
            )
            for level, width in enumerate(down)
        )
        judged = outputs if config.multiscale else outputs[-1:]
        self.predictors = nn.ModuleList(
            Predictor(width, config.tower_width if config.text else 0, config.predictor_layers)
            for width in judged
        )

        self.embedding = (
            Embedding(outputs[-1] * 16, config.tower_width, config.embedding_width)
            if config.text and config.embedding_width
            else None
        )
        self.word_side = config.word_side
        self.words = (
            WordHead(outputs[self._leaving(config.word_side)], config.tower_width, config.word_width)
            if config.text and config.word_width
            else None
        )

    def _leaving(self, side: int) -> int:
        """The first level whose features leave it at `side` pixels."""
        if side * 2 not in self.sizes:
            raise UserError(
                f"word_side: no features of the critic are {side} pixels wide",
                expected=f"one of {self.sizes[1:]}",
                got=side,
                fix=f"--set critics.NAME.word_side={min(8, self.sizes[1]):d}",
            )
        return self.sizes.index(side * 2)

    def features(self, levels: Sequence[Tensor], draws: Draws) -> Trunk:
        """The trunk on images (B, 3, h, w), coarse to fine; a list of the full image alone will do."""
        by_size = self._by_size(levels)
        if self.augment is not None:
            by_size = dict(zip(by_size, self.augment(list(by_size.values()), draws), strict=True))
        x, entered, out, places = None, 0, [], None
        first = len(self.blocks) - len(self.predictors)
        for level, block in enumerate(self.blocks):
            if self.sizes[level] in by_size and level < len(self.from_rgb):
                new = F.leaky_relu(self.from_rgb[level](by_size[self.sizes[level]]), 0.2) * math.sqrt(2)
                x, entered = new if x is None else torch.cat([x, new.to(x.dtype)]), entered + 1
            x = block(x)
            if level >= first:
                out.append((level - first, x, entered))
            if self.words is not None and places is None and x.shape[-1] == self.word_side:
                places = x[: len(x) // entered]  # the full images entered first
        return Trunk(out, places)

    def _by_size(self, levels: Sequence[Tensor]) -> dict[int, Tensor]:
        """The images it looks at by their side, the largest first."""
        found = {level.shape[-1]: level for level in reversed(levels)}
        wrong = [size for size in found if size not in self.sizes]
        if wrong or self.image_size not in found:
            raise UserError(
                "the critic was given images of other sizes",
                expected=f"{self.image_size} pixels, and any of {self.sizes[1:]} beside",
                got=sorted(found),
                fix="build generator and critic for the same size",
            )
        return found if self.multiscale else {self.image_size: found[self.image_size]}

    def read(self, text: TextEmbedding) -> Reading | None:
        """What its own tower makes of a text; None if it sees none."""
        if self.tower is None:
            return None
        read = self.tower(text)
        return Reading(read.tokens, read.mask, read.pooled)

    def heads(self, features: Trunk, text: TextEmbedding | Reading | None) -> list[Tensor]:
        """Logits, each (B,): for every level of the trunk, one for each image that had entered by then.

        One more, of the words, comes last, if there is a head for them.
        """
        reading = self.read(text) if isinstance(text, TextEmbedding) else text
        logits: list[Tensor] = []
        for number, x, entered in features.features:
            repeated = None if reading is None else reading.pooled.repeat(entered, 1)
            logits += self.predictors[number](x, repeated).chunk(entered)
        if self.words is not None and features.places is not None and reading is not None:
            logits.append(self.words(features.places, reading))
        return logits

    def caption_logits(
        self, features: Trunk, texts: TextEmbedding | Reading | None, scale: float, *, paired: bool = False
    ) -> list[Tensor]:
        """How well the full images fit each of P texts, (B, P): by the joint embedding, and word by word.

        Args:
            features: of the images.
            texts: P of them.
            scale: inverse temperature of the joint embedding's cosines.
            paired: each image beside the one text of its own place, (B,).

        Raises:
            UserError: this critic was built without either.
        """
        reading = self.read(texts) if isinstance(texts, TextEmbedding) else texts
        if reading is None or (self.embedding is None and self.words is None):
            raise UserError(
                "the critic has no joint embedding of images and texts",
                expected="embedding_width or word_width above 0, and text",
                got="a critic without",
                fix="--set critics.NAME.embedding_width=128, or leave out the contrastive loss",
            )
        found = []
        if self.embedding is not None:
            image, text = self.embeddings(features, reading)
            found.append(scale * (image * text).sum(1) if paired else cosine_logits(image, text, scale))
        if self.words is not None and features.places is not None:
            reader = self.words.reader if paired else self.words.reader.every
            found.append(reader(features.places, reading.tokens, reading.mask))
        return found

    def embeddings(self, features: Trunk, pool: TextEmbedding | Reading | None) -> tuple[Tensor, Tensor]:
        """The full images (B, E) and any texts (P, E) where they can be compared, of unit norm."""
        reading = self.read(pool) if isinstance(pool, TextEmbedding) else pool
        if self.embedding is None or reading is None:
            raise ValueError("this critic was built without a joint embedding")
        _, x, entered = features.features[-1]
        full = x[: len(x) // entered]  # the full images entered first
        return self.embedding(full, reading.pooled)
