"""`clip-score`: how well pictures fit their captions, as a CLIP sees it. Source: arXiv 2104.08718."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from transformers import CLIPImageProcessor

from t2ikit.clip import ClipTeacher, load_clip, pooled
from t2ikit.errors import UserError
from t2ikit.grids import to_pil
from t2ikit.interfaces import Drawn, Measure
from t2ikit.metrics import clip_files
from t2ikit.metrics.configs import ClipScoreConfig
from t2ikit.metrics.identity import versions
from t2ikit.metrics.intervals import mean_interval


class ClipScore:
    """100 times the cosine of picture and caption, not cut at 0; the mean over pictures.

    `shuffled` is the same with each picture beside another one's caption, which is what chance gives, and
    `real` that of the real pictures.
    """

    def __init__(self, config: ClipScoreConfig) -> None:
        self.config = config
        self._opened: tuple[ClipTeacher, CLIPImageProcessor] | None = None

    def stands_on(self) -> dict[str, str]:
        """What its numbers depend on beside its options."""
        return clip_files.stands_on(self.config.model)

    def _open(self) -> tuple[ClipTeacher, CLIPImageProcessor]:
        name = self.config.model
        clip_files.announce(name)
        try:
            teacher = load_clip(name)
        except UserError as error:
            raise clip_files.unopened(name, error) from error
        return teacher, clip_files.image_processor(name, teacher.pixels)

    @torch.no_grad()
    def __call__(self, drawn: Drawn) -> dict[str, Measure]:
        """Score pictures beside their prompts.

        Raises:
            NotMeasured: there is no such CLIP.
        """
        self._opened = self._opened or self._open()
        texts = self._opened[0].text_embeddings(list(drawn.prompts))
        images = self._embed(drawn.images)
        measures = {"score": replace(self._measure(images, texts), better="higher")}
        if len(images) > 1:
            measures["shuffled"] = self._measure(images, texts.roll(1, 0))
        if drawn.real is not None:
            measures["real"] = self._measure(self._embed(drawn.real), texts)
        return measures

    def _embed(self, images: torch.Tensor) -> torch.Tensor:
        """Unit embeddings of pictures, prepared as the model's own processor prepares them."""
        assert self._opened is not None
        teacher, processor = self._opened
        parts = []
        for part in images.split(self.config.batch):
            pixels = processor(to_pil(part), return_tensors="pt")["pixel_values"]
            parts.append(F.normalize(pooled(teacher.model.get_image_features(pixels)), dim=-1))
        return torch.cat(parts)

    def _measure(self, images: torch.Tensor, texts: torch.Tensor) -> Measure:
        assert self._opened is not None
        mean, low, high = mean_interval((100 * (images * texts).sum(-1)).double().numpy())
        height, width = self._opened[0].pixels.size
        provenance = (
            f"CLIP {self.config.model}, 100 x cosine, bicubic and cut to {height} x {width} px "
            f"by transformers {versions('transformers')['transformers']}"
        )
        return Measure(mean, len(images), low, high, "", provenance)
