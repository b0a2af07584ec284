"""The contrastive CLIP loss on plain tensors.

Source: GigaGAN (arXiv 2303.05511, section 3.3): the cross-entropy of finding an image's own caption among
many, from image to text only.

Letters: B images, P captions to choose from, E width of the embeddings.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from t2ikit import number_captions


def clip_contrastive(
    image: Tensor, text: Tensor, own: Tensor, duplicates: Tensor, scale: Tensor | float
) -> Tensor:
    """Loss of each sample, (B,): -log softmax over the pool of scale x cosine, at the sample's own caption.

    A sample's loss does not depend on the other images, so micro-batches add up to the whole batch.

    Args:
        image: (B, E), unit norm.
        text: (P, E), unit norm.
        own: (B,) long, the place of each sample's caption in the pool.
        duplicates: (B, P) bool, true where a caption is as right as the sample's own: it is no negative.
        scale: the inverse temperature, 1 to 100.
    """
    return own_caption(cosine_logits(image, text, scale), own, duplicates)


def cosine_logits(image: Tensor, text: Tensor, scale: Tensor | float) -> Tensor:
    """scale x cosine of images (B, E) and texts (P, E) of unit norm, (B, P), in float32 or better."""
    with torch.autocast(image.device.type, enabled=False):
        # Times a scale of 100, bfloat16 would round the logits to halves.
        wide = torch.promote_types(image.dtype, torch.float32)
        return scale * image.to(wide) @ text.to(wide).T


def own_caption(logits: Tensor, own: Tensor, duplicates: Tensor) -> Tensor:
    """-log softmax of each row of logits (B, P) at `own`, (B,); `duplicates` as in `clip_contrastive`."""
    others = duplicates.scatter(1, own[:, None], False)
    return F.cross_entropy(logits.masked_fill(others, -torch.inf), own, reduction="none")


def beside_wrong(
    logits: Tensor, duplicates: Tensor, wrong: Tensor, mismatch_mask: Tensor
) -> tuple[Tensor, Tensor]:
    """Logits and duplicates (B, P) with one more column: each sample's wrong caption, of logit `wrong` (B,).

    Where `mismatch_mask` (B,) is 0 that caption is right by accident, so it is no negative.
    """
    right = mismatch_mask[:, None] == 0
    return torch.cat([logits, wrong[:, None]], 1), torch.cat([duplicates, right], 1)


def find_duplicates(pool: Tensor | Sequence[str], own: Tensor) -> Tensor:
    """Where the pool repeats a sample's caption at another place than its own, (B, P) bool.

    Args:
        pool: (P,) long, numbers of captions, equal for equal texts (`Batch.caption_ids`), or P captions.
        own: (B,) long, each sample's place in it.
    """
    numbers = pool if isinstance(pool, Tensor) else number_captions(pool).to(own.device)
    return (numbers[own][:, None] == numbers).scatter(1, own[:, None], False)
