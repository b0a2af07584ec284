"""The grids of validation prompts that training samples on the way."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

from PIL import Image
from torch import Tensor

from t2ikit.nn.modes import eval_mode
from t2ikit.recipes.compose import Components
from t2ikit.sampling.images import sample_shapes
from t2ikit.sampling.low_res import low_res_images, real_images, shapes_of
from t2ikit.training.trainer import Trainer
from t2ikit.utils.grids import labelled_grid, prompt_labels
from t2ikit.utils.images import to_pil


class SampleGrids:
    """Samples the validation prompts from the averaged weights.

    Args:
        components: the built parts.
        trainer: whose averaged weights are used, the raw ones where it keeps none.

    Attributes:
        prompts: of the recipe, or four that the data gives.
        beside: (P, 3, H, W), real images of the prompts, for super-resolution; None else.
        shapes: height and width of each prompt's samples.

    Raises:
        UserError: the model upscales, and a prompt belongs to no image.
    """

    def __init__(self, components: Components, trainer: Trainer) -> None:
        self.model, self.trainer, config = components.model, trainer, trainer.config
        self.seed, self.count = config.seed, config.samples
        self.prompts = list(dict.fromkeys(config.prompts or components.dataset.prompts(4, config.seed)))
        self.beside = real_images(self.model.generator, components.dataset, self.prompts, config.seed)
        self.shapes = shapes_of(self.model, components.dataset, self.prompts, config.seed)

    def sample(self) -> list[Tensor]:
        """P * count images (3, H, W) in [-1, 1], those of a prompt together.

        Raises:
            UserError: memory does not suffice.
        """
        generator, ema = self.model.generator, self.trainer.ema
        with eval_mode([generator]), ema.average_parameters() if ema else nullcontext():
            return sample_shapes(
                self.model,
                self.prompts,
                self.shapes,
                samples=range(self.count),
                seed=self.seed,
                batch=max(4, self.trainer.micro_batch),
                low_res=low_res_images(generator, self.beside, self.count),
            )

    def grid(self, images: Sequence[Tensor]) -> Image.Image:
        """A row for each prompt; for super-resolution between what was given and the real image."""
        cells = _as_pil(images)
        rows = [cells[i : i + self.count] for i in range(0, len(cells), self.count)]
        labels = [f"sample {number}" for number in range(self.count)]
        low_res = low_res_images(self.model.generator, self.beside)
        if self.beside is not None and low_res is not None:
            ends = zip(to_pil(low_res), rows, to_pil(self.beside))
            rows, labels = [[a, *row, b] for a, row, b in ends], ["given", *labels, "real"]
        return labelled_grid(rows, prompt_labels(self.prompts), labels)

    def first(self, images: Sequence[Tensor]) -> list[Image.Image]:
        """The first image of each prompt."""
        return _as_pil(images[:: self.count])


def _as_pil(images: Sequence[Tensor]) -> list[Image.Image]:
    return [to_pil(image[None])[0] for image in images]
