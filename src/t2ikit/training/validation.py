"""Validation on the way: held-out images, or the first training images where there are none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from t2ikit.core.batch import Batch, Record
from t2ikit.core.interfaces import Dataset, Split
from t2ikit.core.shapes import Shape
from t2ikit.data.formats.shard_stream import StreamedFiles
from t2ikit.data.loader import BatchLoader
from t2ikit.errors import UserError
from t2ikit.recipes.compose import Components
from t2ikit.registry.specs import Needs
from t2ikit.training.trainer import Trainer


class SelectedImages(Dataset):
    """Some images of a dataset, the same for both splits.

    Args:
        dataset: of which they are.
        split: in which they are.
        indices: which of them; None: all.
    """

    def __init__(self, dataset: Dataset, split: Split, indices: Sequence[int] | None = None) -> None:
        self.dataset, self.split = dataset, split
        self.indices = range(dataset.size(split)) if indices is None else indices

    def size(self, split: Split) -> int:
        """How many they are."""
        return len(self.indices)

    def record(self, split: Split, index: int) -> Record:
        """Image `index` of them."""
        return self.dataset.record(self.split, self.indices[index])

    def captions(self, split: Split, index: int) -> tuple[str, ...]:
        """The captions of image `index` of them."""
        return self.dataset.captions(self.split, self.indices[index])

    def shapes(self, split: Split) -> list[Shape] | None:
        """As the dataset has them."""
        shapes = self.dataset.shapes(self.split)
        return None if shapes is None else [shapes[index] for index in self.indices]

    def prompts(self, n: int, seed: int) -> list[str]:
        """As the dataset gives them."""
        return self.dataset.prompts(n, seed)

    def images(self, captions: Sequence[str], seed: int) -> list[Tensor] | None:
        """As the dataset gives them."""
        return self.dataset.images(captions, seed)

    @property
    def fingerprint(self) -> str:
        """The dataset's."""
        return self.dataset.fingerprint


def validation_data(dataset: Dataset) -> Dataset:
    """The dataset, or its training images where it holds none out.

    Raises:
        UserError: it holds none out, and its training images cannot be read by index.
    """
    if dataset.size("validation"):
        return dataset
    if isinstance(dataset, StreamedFiles):
        return SelectedImages(dataset.first, "train")
    if not dataset.indexed_training:
        raise UserError(
            "data.validation: a stream holds no image out to validate on",
            expected="at least one image for validation",
            got="none",
            fix="--set data.validation=0.1, or any other share above 0",
        )
    return SelectedImages(dataset, "train")


def _by_shape(dataset: Dataset, count: int) -> list[tuple[Dataset, int]]:
    """The first `count` validation images by shape: a dataset that begins with them, and their number."""
    shapes = dataset.shapes("validation")
    if shapes is None:
        return [(dataset, count)]
    groups: dict[Shape, list[int]] = {}
    for index, shape in enumerate(shapes[:count]):
        groups.setdefault(shape, []).append(index)
    return [(SelectedImages(dataset, "validation", own), len(own)) for own in groups.values()]


def training_shapes(dataset: Dataset) -> Sequence[Shape] | None:
    """Height and width of each training image; None where all are squares."""
    return dataset.shapes("train") if dataset.indexed_training else None


class Validation:
    """Measures the generator's losses, with the same images and the same draws every time.

    Args:
        components: the built parts.
        trainer: that trains them.
        log: told where no image is held out.

    Attributes:
        score: (steps done, weighted sum of the losses) of the last measurement.
    """

    def __init__(self, components: Components, trainer: Trainer, log: Callable[[str], None]) -> None:
        self.components, self.trainer = components, trainer
        self.left_out = self._left_out()
        self.batches = self._batches(log)
        self.score: tuple[int, float] | None = None

    def _left_out(self) -> Needs:
        """What the measured losses may not need.

        Validation is of whole images, critics are built for what the generator is trained on. Where that is
        crops, losses that need a critic are left out, unless there is no other.
        """
        model = self.components.model
        super_resolution, size = model.generator.super_resolution, model.context.image_size
        own = [term for term in self.components.losses.values() if term.player == "generator"]
        without = any("critic" not in term.needs for term in own)
        return frozenset(
            {"critic"} if super_resolution and 0 < super_resolution.crop < size and without else ()
        )

    def _batches(self, log: Callable[[str], None]) -> list[Batch]:
        """Held-out images, one batch a shape, with draws that stay the same: their keys are below 0."""
        dataset, config = validation_data(self.components.dataset), self.trainer.config
        count = min(config.validation_images, dataset.size("validation"))
        if dataset is not self.components.dataset:
            images = f"the first {count} training images" if count > 1 else "the first training image"
            log(f"no image is held out: validation losses are measured on {images}")
        super_resolution = self.components.model.generator.super_resolution
        whole = not self.components.critics or bool(self.left_out)
        options: dict[str, Any] = {
            "split": "validation",
            "super_resolution": super_resolution,
            "whole": whole,
        }
        found: list[Batch] = []
        for part, own in _by_shape(dataset, count):
            loader = BatchLoader(part, config.seed, own, **options)
            batch = loader[0].batch(self.components.model.encoder, self.trainer.accelerator.device)
            found.append(replace(batch, keys=-1 - sum(map(len, found)) - batch.keys))
        return found

    def measure(self, done: int) -> dict[str, float]:
        """The losses when `done` steps are done, by name."""
        losses = self.trainer.validate(self.batches, self.left_out)
        terms = self.components.losses
        self.score = (done, sum(terms[name].weight * value for name, value in losses.items()))
        return losses

    def score_at(self, done: int) -> float | None:
        """The weighted sum, if it was measured when `done` steps were done."""
        return self.score[1] if self.score and self.score[0] == done else None
