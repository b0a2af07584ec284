"""The CLIP loss of a training step.

Source: GigaGAN (arXiv 2303.05511, section 3.3).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from t2ikit import ClipTeacher, Step, load_clip
from t2ikit_gigagan.contrastive import clip_contrastive, find_duplicates


class ClipLoss(nn.Module):
    """How badly a frozen CLIP finds each image's own caption among those of the whole effective batch.

    Looks at the full-size images alone. Has no parameters and no state: the teacher is no submodule.

    Args:
        model: a folder or a Hub id for `load_clip`, or an opened teacher.

    Raises:
        UserError: there is no such CLIP.
    """

    def __init__(self, model: str | ClipTeacher) -> None:
        super().__init__()
        self.teacher = load_clip(model) if isinstance(model, str) else model
        self.caption_key = f"clip {model if isinstance(model, str) else id(model)}"

    def caption_features(self, captions: Sequence[str], device: torch.device) -> Tensor:
        """CLIP's embeddings of P captions, (P, E) on the CPU; the teacher moves to `device`."""
        self.teacher.on(device)
        return self.teacher.known_texts(captions)

    def forward(self, step: Step) -> Tensor:
        """A scalar: the mean over samples, each times its `image_weight`."""
        batch, teacher = step.batch, self.teacher
        image = teacher.image_embeddings(step.fake[-1])  # (B, E); moves the teacher to the images' device
        text = batch.caption_features.get(self.caption_key)  # (P, E)
        if text is None:  # a batch that was not made for training
            text = teacher.text_embeddings(batch.all_captions)
        duplicates = find_duplicates(batch.caption_ids, batch.caption_index)
        each = clip_contrastive(image, text, batch.caption_index, duplicates, teacher.scale)
        return (each * step.prediction.image_weight).mean()
