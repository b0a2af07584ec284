"""What flows from the data to the losses.

Letters: B batch, C channels, L tokens, D text width, H W image, h w one level of a pyramid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import cast

import torch
from torch import Tensor

from t2ikit.core.tensors import map_tensors
from t2ikit.errors import UserError
from t2ikit.utils.deprecation import renamed

Index = slice | Tensor


@dataclass(frozen=True)
class Record:
    """One captioned image as a dataset gives it.

    Attributes:
        image: (C, H, W) uint8.
        captions: one or more captions; training draws one of them each time.
        key: what this image is called (a file name, an index), for messages and for telling
            images apart.
    """

    image: Tensor
    captions: tuple[str, ...]
    key: str


@dataclass(frozen=True)
class TextEmbedding:
    """What a frozen text encoder gives for B captions.

    Attributes:
        tokens: (B, L, D) float.
        mask: (B, L) bool, true where a token is real; at least one a row.
        pooled: (B, D) float, one vector a caption.
    """

    tokens: Tensor
    mask: Tensor
    pooled: Tensor

    def __len__(self) -> int:
        return self.tokens.shape[0]

    def __getitem__(self, index: Index) -> TextEmbedding:
        return TextEmbedding(self.tokens[index], self.mask[index], self.pooled[index])

    def to(self, device: torch.device | str) -> TextEmbedding:
        """The same embedding on `device`."""
        return map_tensors(self, lambda tensor: tensor.to(device))

    def expand(self, batch: int) -> TextEmbedding:
        """Repeat a one-row embedding `batch` times without copying."""
        return TextEmbedding(
            self.tokens.expand(batch, -1, -1), self.mask.expand(batch, -1), self.pooled.expand(batch, -1)
        )

    def where(self, keep: Tensor, other: TextEmbedding) -> TextEmbedding:
        """Rows of this embedding where `keep` (B,) bool is true, rows of `other` elsewhere."""
        return TextEmbedding(
            torch.where(keep[:, None, None], self.tokens, other.tokens),
            torch.where(keep[:, None], self.mask, other.mask),
            torch.where(keep[:, None], self.pooled, other.pooled),
        )

    @staticmethod
    def cat(parts: Sequence[TextEmbedding]) -> TextEmbedding:
        """Join embeddings of equal L and D along the batch."""
        return TextEmbedding(
            torch.cat([part.tokens for part in parts]),
            torch.cat([part.mask for part in parts]),
            torch.cat([part.pooled for part in parts]),
        )


@renamed(level="noise_level")
@dataclass(frozen=True)
class Condition:
    """All that sampling knows.

    Attributes:
        captions: B strings.
        text: their embedding.
        empty: the embedding of the empty caption, one row, or one of negative prompts for each caption; what
            caption dropout and guidance use.
        low_res: (B, C, h, w) in [-1, 1], the images to upscale; None unless super-resolution. With noise:
            (B, C, H, W), upscaled, with noise.
        noise_level: (B,) in [0, 1], the level of the noise added to `low_res`; None: no noise yet.
        prepared: whether the texts are a model's own (`Denoiser.prepare`), no longer the encoder's.
        shape: height and width of the images to sample, pixels; None: the model's own. Training has images.
    """

    captions: tuple[str, ...]
    text: TextEmbedding
    empty: TextEmbedding
    low_res: Tensor | None = None
    prepared: bool = False
    noise_level: Tensor | None = None
    shape: tuple[int, int] | None = None

    def __len__(self) -> int:
        return len(self.captions)

    def __getitem__(self, index: slice) -> Condition:
        return replace(
            self,
            captions=self.captions[index],
            text=self.text[index],
            empty=self.empty if len(self.empty) == 1 else self.empty[index],
            low_res=None if self.low_res is None else self.low_res[index],
            noise_level=None if self.noise_level is None else self.noise_level[index],
        )

    def to(self, device: torch.device | str) -> Condition:
        """The same condition on `device`."""
        return map_tensors(self, lambda tensor: tensor.to(device))


@renamed(wrong_ok="mismatch_mask", pool="all_captions", pool_text="all_captions_text", own="caption_index")
@dataclass(frozen=True)
class Batch:
    """One micro-batch of training data.

    Attributes:
        images: (B, C, H, W) in [-1, 1].
        condition: captions and their embedding.
        wrong: for each sample the embedding of a random caption of the whole dataset.
        mismatch_mask: (B,) float, 0 where that caption is in fact right (equal text, or a caption
            of the same image), else 1.
        all_captions: the captions of the whole effective batch, over all micro-batches and processes.
        all_captions_text: their embedding.
        caption_index: (B,) long, each sample's place in `all_captions`.
        keys: (B,) long, unique in the run: what all randomness of this sample is drawn from.
        caption_ids: (P,) long, for each of `all_captions` the first place with the same text: equal
            numbers, equal captions. Losses compare these, not strings. None is numbered from the strings.
        caption_features: what losses need of the text of `all_captions`, each (P, ...) by `caption_key`.
    """

    images: Tensor
    condition: Condition
    wrong: TextEmbedding
    mismatch_mask: Tensor
    all_captions: tuple[str, ...]
    all_captions_text: TextEmbedding
    caption_index: Tensor
    keys: Tensor
    caption_ids: Tensor = field(default=cast(Tensor, None))
    caption_features: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.caption_ids is None:
            numbers = number_captions(self.all_captions).to(self.caption_index.device)
            object.__setattr__(self, "caption_ids", numbers)
        elif len(self.caption_ids) != len(self.all_captions):
            raise ValueError(f"{len(self.caption_ids)} caption_ids of {len(self.all_captions)} captions")

    def __len__(self) -> int:
        return self.images.shape[0]

    def __getitem__(self, index: slice) -> Batch:
        whole = ("all_captions", "all_captions_text", "caption_ids", "caption_features")
        cut = {f.name: getattr(self, f.name)[index] for f in fields(self) if f.name not in whole}
        return replace(self, **cut)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on `device`."""
        return map_tensors(self, lambda tensor: tensor.to(device))


def number_captions(captions: Sequence[str]) -> Tensor:
    """For each of P captions the first place with the same text, (P,) long, on the CPU.

    Example:
        >>> number_captions(["a cat", "a dog", "a cat"])
        tensor([0, 1, 0])
    """
    first = {caption: place for place, caption in reversed(list(enumerate(captions)))}
    return torch.tensor([first[caption] for caption in captions], dtype=torch.long)


@dataclass(frozen=True)
class Prediction:
    """What a generator made of a batch.

    Attributes:
        images: list of (B, C, h, w), coarse to fine, the last at full size, with gradient: the
            clean image as the generator now sees it (a GAN's pyramid, a denoiser's x0).
        image_weight: (B,) in [0, 1], how far `images` can be trusted: 1 for a GAN, from the
            signal-to-noise ratio for a denoiser. Losses on `images` multiply by it.
        output, target: (B, C, H, W), what a denoiser gave and should have given; None otherwise.
        timestep: (B,), the noise level's place in the schedule; None otherwise.
        snr: (B,), signal-to-noise ratio at `timestep`, may be 0; None otherwise.
        prediction_type: what `output` is, in diffusers' words ("epsilon", "sample", "v_prediction",
            "flow_prediction"); None otherwise.
        real: (B, C, H, W), the images it was trained towards, where those are not the batch's own
            (augmented); None: the batch's.
        condition: what `images` were made for, where it is not the batch's own (noise on `low_res`); None:
            the batch's.

    Example:
        >>> pyramid = [torch.zeros(2, 3, size, size) for size in (8, 16, 32)]
        >>> prediction = Prediction(pyramid, image_weight=torch.ones(2))  # a GAN's
        >>> prediction.output is None
        True
    """

    images: list[Tensor]
    image_weight: Tensor
    output: Tensor | None = None
    target: Tensor | None = None
    timestep: Tensor | None = None
    snr: Tensor | None = None
    prediction_type: str | None = None
    real: Tensor | None = None
    condition: Condition | None = None

    def denoising(self) -> tuple[Tensor, Tensor, Tensor]:
        """Output, target and SNR, for losses of denoisers.

        Raises:
            UserError: the prediction is not a denoiser's.
        """
        if self.output is None or self.target is None or self.snr is None:
            raise UserError(
                "this loss was given a prediction without output, target and snr",
                expected="a denoiser's prediction",
                got="a one-step generator's",
                fix='say so in the loss\'s spec: needs={"target", "snr"}',
            )
        return self.output, self.target, self.snr
