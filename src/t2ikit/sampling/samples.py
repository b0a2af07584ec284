"""Sampled images with what they were sampled from, and how they are written."""

from __future__ import annotations

import contextlib
import itertools
import re
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image
from torch import Tensor

from t2ikit.data.image_files import UNREADABLE
from t2ikit.runs.run import Run
from t2ikit.sampling.outputs import make_output, unwritable_images
from t2ikit.utils.deprecation import renamed
from t2ikit.utils.files import save_image
from t2ikit.utils.grids import labelled_grid, prompt_labels
from t2ikit.utils.images import to_pil


@renamed(calls="function_evaluations")
@dataclass(frozen=True)
class Samples:
    """Images sampled from a run: P prompts, G guidance weights, S images of each.

    Attributes:
        images: (P, G, S, 3, H, W) in [-1, 1], on the CPU.
        prompts: the P captions.
        guidance: the G weights.
        seed: of the noise; image s of a prompt depends on (seed, prompt, s) and the settings alone.
        seconds: of sampling, all images together, without opening the run.
        function_evaluations: of the networks for one image, guidance counting twice; None where a sampler
            does not report them.
        run: what was sampled.

    Example:
        >>> samples = t2ikit.sample("runs/imagen-001", ["a red cat", "a blue dog"], guidance=[1, 3])
        >>> samples.images[0, 1, 2]  # the third image of a red cat at guidance 3: (3, H, W)
        >>> samples.grid().save("grid.png")
        >>> samples.save("cats")
    """

    images: Tensor = field(repr=False)
    prompts: tuple[str, ...]
    guidance: tuple[float, ...]
    seed: int
    seconds: float
    function_evaluations: float | None
    run: Run = field(repr=False)

    def __len__(self) -> int:
        """The number of images, P * G * S."""
        return self.images[..., 0, 0, 0].numel()

    def pil(self) -> list[Image.Image]:
        """All images, by prompt, then guidance, then sample."""
        return to_pil(self.images.flatten(0, 2))

    def grid(self) -> Image.Image:
        """One labelled image: a row for each prompt, a column for each guidance and sample."""
        rows = [to_pil(of_prompt.flatten(0, 1)) for of_prompt in self.images]
        count = self.images.shape[2]
        many = count > 1
        labels = [
            " ".join(
                [f"guidance {scale:g}"] * (len(self.guidance) > 1 or not many) + [f"sample {number}"] * many
            )
            for scale in self.guidance
            for number in range(count)
        ]
        return labelled_grid(rows, prompt_labels(self.prompts), labels)

    def save(self, folder: str | Path | None = None) -> Path:
        """Write each image as a PNG, and their grid.

        Args:
            folder: to make or add to; None takes the next free one of RUN/outputs/001, ..., for an export of
                ./outputs/001, ...

        Returns:
            The path of the grid, grid.png. Where the folder has another file of a name, the new one gets a
            number: grid-002.png.

        Raises:
            UserError: it cannot be written.
        """
        place = make_output(self.run, None if folder is None else Path(folder))
        try:
            for name, image in zip(self.names(), self.pil(), strict=True):
                save_beside(image, place / name)
            return save_beside(self.grid(), place / "grid.png")
        except OSError as error:
            raise unwritable_images(place, error) from error

    def names(self) -> list[str]:
        """Names of the files that `save` writes into an empty folder, in the order of `pil`."""
        return [
            f"{place:03d}-{_slug(prompt)}-g{scale:g}-s{self.seed}-{number}.png"
            for place, prompt in enumerate(self.prompts)
            for scale in self.guidance
            for number in range(self.images.shape[2])
        ]


def save_beside(image: Image.Image, path: Path) -> Path:
    """Save an image; under the next free name where there is another of that name. Where it is."""
    places = itertools.chain(
        [path], (path.with_stem(f"{path.stem}-{number:03d}") for number in itertools.count(2))
    )
    place = next(place for place in places if not place.exists() or _same(image, place))
    save_image(image, place)
    return place


def _same(image: Image.Image, path: Path) -> bool:
    """Whether a file has these pixels."""
    with contextlib.suppress(*UNREADABLE), Image.open(path) as other:
        return other.mode == image.mode and other.tobytes() == image.tobytes()
    return False


def _slug(prompt: str) -> str:
    if not prompt.strip():
        return "unconditional"
    return re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:60] or "prompt"
