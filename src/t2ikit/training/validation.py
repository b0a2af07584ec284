"""Validation on the way: held-out images, or the first training images where there are none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import Tensor

from t2ikit.core.batch import Batch, Record
from t2ikit.core.interfaces import Dataset, Split
from t2ikit.data.formats.shard_stream import StreamedFiles
from t2ikit.data.loader import BatchLoader
from t2ikit.errors import UserError
from t2ikit.recipes.compose import Components
from t2ikit.registry.specs import Needs
from t2ikit.training.trainer import Trainer


class TrainingImages(Dataset):
    """A dataset whose training images are its validation images too.

    Args:
        dataset: one without held-out images.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def size(self, split: Split) -> int:
        """Number of training images."""
        return self.dataset.size("train")

    def record(self, split: Split, index: int) -> Record:
        """Training image `index`."""
        return self.dataset.record("train", index)

    def captions(self, split: Split, index: int) -> tuple[str, ...]:
        """The captions of training image `index`."""
        return self.dataset.captions("train", index)

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
        return TrainingImages(dataset.first)
    if not dataset.indexed_training:
        raise UserError(
            "data.validation: a stream holds no image out to validate on",
            expected="at least one image for validation",
            got="none",
            fix="--set data.validation=0.1, or any other share above 0",
        )
    return TrainingImages(dataset)


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
        """Held-out images with draws that stay the same: keys below 0 are never training's."""
        dataset, config = validation_data(self.components.dataset), self.trainer.config
        count = min(config.validation_images, dataset.size("validation"))
        if dataset is not self.components.dataset:
            images = f"the first {count} training images" if count > 1 else "the first training image"
            log(f"no image is held out: validation losses are measured on {images}")
        super_resolution = self.components.model.generator.super_resolution
        whole = not self.components.critics or bool(self.left_out)
        batches = BatchLoader(
            dataset, config.seed, count, split="validation", super_resolution=super_resolution, whole=whole
        )
        batch = batches[0].batch(self.components.model.encoder, self.trainer.accelerator.device)
        return [replace(batch, keys=-1 - batch.keys)]

    def measure(self, done: int) -> dict[str, float]:
        """The losses when `done` steps are done, by name."""
        losses = self.trainer.validate(self.batches, self.left_out)
        terms = self.components.losses
        self.score = (done, sum(terms[name].weight * value for name, value in losses.items()))
        return losses

    def score_at(self, done: int) -> float | None:
        """The weighted sum, if it was measured when `done` steps were done."""
        return self.score[1] if self.score and self.score[0] == done else None
