"""`clip-score`: how well images fit their captions, as a CLIP sees it. Source: arXiv 2104.08718."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from t2ikit.core.metric import Download, ImageSet, Measure
from t2ikit.errors import UserError
from t2ikit.metrics import clip_files
from t2ikit.metrics.configs import ClipScoreConfig
from t2ikit.metrics.identity import versions
from t2ikit.metrics.intervals import mean_interval
from t2ikit.nn.clip import ClipPixels, ClipTeacher, find_folder, load_clip, pooled, read_preprocessor
from t2ikit.utils.images import to_pil


class ClipScore:
    """100 times the cosine of image and caption, not cut at 0; the mean over images.

    `shuffled` is the same with each image and another image's caption, which is chance level, and
    `real` that of the real images.
    """

    def __init__(self, config: ClipScoreConfig) -> None:
        self.config = config
        self._opened: tuple[ClipTeacher, Image.Resampling] | None = None

    def dependencies(self) -> dict[str, str]:
        """What its numbers depend on besides its options."""
        return clip_files.dependencies(self.config.model)

    def downloads(self) -> list[Download]:
        """The model, unless it is here."""
        return clip_files.downloads(self.config.model)

    def fetch(self) -> None:
        """Fetch the model.

        Raises:
            NotMeasured: it cannot be had.
        """
        clip_files.fetch(self.config.model)

    def _open(self) -> tuple[ClipTeacher, Image.Resampling]:
        name = self.config.model
        try:
            teacher = load_clip(name)
            filters = read_preprocessor(find_folder(name)).get("resample", Image.Resampling.BICUBIC)
        except UserError as error:
            raise clip_files.unopened(name, error) from error
        return teacher, Image.Resampling(filters)

    @torch.no_grad()
    def __call__(self, image_set: ImageSet) -> dict[str, Measure]:
        """Score images with their prompts.

        Raises:
            NotMeasured: there is no such CLIP.
        """
        self._opened = self._opened or self._open()
        texts = self._opened[0].text_embeddings(list(image_set.prompts))
        images = self._embed(image_set.images)
        measures = {"score": replace(self._measure(images, texts), better="higher")}
        if len(images) > 1:
            measures["shuffled"] = self._measure(images, texts.roll(1, 0))
        if image_set.real is not None:
            measures["real"] = self._measure(self._embed(image_set.real), texts)
        return measures

    def _embed(self, images: torch.Tensor) -> torch.Tensor:
        """Unit embeddings of images, prepared as the model's own processor prepares them."""
        assert self._opened is not None
        teacher, resampling = self._opened
        parts = []
        for part in images.split(self.config.batch):
            pixels = prepare(part, teacher.pixels, resampling)
            parts.append(F.normalize(pooled(teacher.model.get_image_features(pixels)), dim=-1))
        return torch.cat(parts)

    def _measure(self, images: torch.Tensor, texts: torch.Tensor) -> Measure:
        assert self._opened is not None
        mean, low, high = mean_interval((100 * (images * texts).sum(-1)).double().numpy())
        height, width = self._opened[0].pixels.size
        provenance = (
            f"CLIP {self.config.model}, 100 x cosine, {self._opened[1].name.lower()} and cut to {height} x "
            f"{width} px by Pillow {versions('pillow')['pillow']}"
        )
        return Measure(mean, len(images), low, high, "", provenance)


def prepare(images: torch.Tensor, pixels: ClipPixels, resampling: Image.Resampling) -> torch.Tensor:
    """Images (N, 3, H, W) in [-1, 1] as the preprocessor of published CLIPs gives them, (N, 3, h, w).

    The shorter side is resized to the model's, the middle cut out, and red, green and blue are normalised.
    By Pillow, so that the same numbers come of every installation: transformers takes one of several ways.
    """
    height, width = pixels.size
    parts = []
    for image in to_pil(images):
        side, shorter = min(height, width), min(image.size)
        resized = image.resize((side * image.width // shorter, side * image.height // shorter), resampling)
        left, top = (resized.width - width) // 2, (resized.height - height) // 2
        parts.append(np.asarray(resized.crop((left, top, left + width, top + height))))
    levels = torch.from_numpy(np.stack(parts)).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(values)[:, None, None] for values in (pixels.mean, pixels.std))
    return (levels - mean) / std
