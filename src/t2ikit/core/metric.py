"""What a metric is called with, and what it returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from torch import Tensor

from t2ikit.core.interfaces import Dataset
from t2ikit.utils.deprecation import renamed, warn_renamed


@dataclass(frozen=True)
class Measure:
    """One number with where it comes from.

    Attributes:
        value: in `unit`.
        low, high: a 95 % interval; None where there is none to give.
        n: how many images it was measured on.
        unit: "%" or "" or a name.
        provenance: metric version, extractor, resize and so on.
        warning: why the number should be read with care; empty where there is no reason.
        better: which way is better, "higher" or "lower"; empty where neither is.
    """

    value: float
    n: int
    low: float | None = None
    high: float | None = None
    unit: str = ""
    provenance: str = ""
    warning: str = ""
    better: Literal["higher", "lower", ""] = ""


@renamed(again="images_per_prompt")
@dataclass(frozen=True)
class ImageSet:
    """What a metric is called with: images sampled from prompts, and real images to compare them with.

    All images are in [-1, 1] and hold what an 8-bit PNG of them holds.

    Attributes:
        images: (N, 3, H, W), one for each prompt.
        prompts: N captions.
        dataset: where the prompts come from.
        real: (N, 3, H, W), a real image of each prompt; None where the dataset has none.
        images_per_prompt: (P, K, 3, H, W), K more images of each of the first P prompts; None where no
            metric of the evaluation uses them.
        train: (M, 3, H, W) training images, all or evenly chosen; None where they cannot be read by index.
        low_res: (N, 3, h, w), what was upscaled; None unless the model upscales.
    """

    images: Tensor
    prompts: Sequence[str]
    dataset: Dataset
    real: Tensor | None = None
    images_per_prompt: Tensor | None = None
    train: Tensor | None = None
    low_res: Tensor | None = None

    def __post_init__(self) -> None:
        count = len(self.images)
        if (
            count == 0
            or len(self.prompts) != count
            or len(self.images if self.real is None else self.real) != count
        ):
            raise ValueError(
                "a metric needs at least one image, one prompt for each image and as many real ones, "
                f"got {count} images and {len(self.prompts)} prompts"
            )


@dataclass(frozen=True)
class Download:
    """Something that is not on this machine and would have to be fetched.

    Attributes:
        name: of the file, or of the repository on the Hub.
        megabytes: its size, 10^6 bytes; None where it is not known.
        url: of the file or its server, which is asked first whether it answers; empty: nobody is asked.
    """

    name: str
    megabytes: float | None = None
    url: str = ""


class NotMeasured(Exception):
    """A metric cannot be computed here. The message says what is missing and where it goes.

    Args:
        message: a clause after "not measured: ".
        packages: distributions that are missing, as `pip install` takes them.
        downloads: what would have to be fetched.
    """

    def __init__(
        self, message: str = "", *, packages: Sequence[str] = (), downloads: Sequence[Download] = ()
    ) -> None:
        super().__init__(message)
        self.packages, self.downloads = tuple(packages), tuple(downloads)


@runtime_checkable
class Metric(Protocol):
    """Images to numbers. Besides the call, a metric may have any of these:

    - `uses_images_per_prompt = True`: it looks at `ImageSet.images_per_prompt`.
    - `needs_prompts = False`: it pairs no image with its prompt or real image, so it can measure a folder of
      images whose prompts are not known; `prompts` are then those of the real images.
    - `dependencies() -> dict[str, str]`: what its numbers depend on besides its options.
    - `downloads() -> list[Download]`: what it would have to fetch, empty where everything is here. Nothing is
      fetched unless the metric was asked for: until then it is named with these sizes and not called. May
      raise `NotMeasured`.
    - `fetch() -> None`: fetches that, before anything is sampled; without it the call does. May raise
      `NotMeasured`.
    """

    def __call__(self, image_set: ImageSet) -> dict[str, Measure]:
        """Measure the images; the same numbers every time.

        Raises:
            NotMeasured: something it needs is missing; the other metrics go on.
        """
        ...


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """The old name of `ImageSet`."""
        if name != "Drawn":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        warn_renamed("t2ikit.Drawn", "t2ikit.ImageSet")
        return ImageSet
