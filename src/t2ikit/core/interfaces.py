"""What the parts of t2ikit look like from outside: the classes that plugins fill in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

from torch import Tensor, nn

from t2ikit.core.batch import Batch, Condition, Prediction, Record, TextEmbedding
from t2ikit.core.rng import Draws
from t2ikit.core.super_resolution import SuperResolution
from t2ikit.utils.deprecation import old_attribute, take_old_names


class Generator(nn.Module, ABC):
    """A trainable text-to-image model. Owns its trainable text tower.

    Attributes:
        caption_dropout: the share of samples trained on the empty caption, in [0, 1); guidance needs
            it above 0.
        shape_multiple: its images may be of any height and width that are multiples of it; 0: they are
            squares of one size.
        unconditional: it makes images without regard to the captions, as an experiment may.
        image_channels: C of its images; a generator of any kind of image takes it from its `Context`.
        super_resolution: how a super-resolution model is trained: its batches and conditions have `low_res`;
            None: it samples from the text alone.
    """

    caption_dropout: float = 0.0
    shape_multiple: int = 0
    unconditional: bool = False
    image_channels: int = 3
    super_resolution: SuperResolution | None = None

    enlarges = old_attribute("Generator", "enlarges", "super_resolution", depth=4)  # through nn.Module

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        take_old_names(cls, enlarges="super_resolution")

    @abstractmethod
    def forward(self, batch: Batch, draws: Draws) -> Prediction:
        """Predict for training; all randomness comes from `draws`."""


class Denoiser(Generator):
    """A generator that removes noise; sampled in many steps.

    Attributes:
        scheduler_config: what a diffusers scheduler is built from (`num_train_timesteps`,
            `prediction_type`, `beta_schedule`, `rescale_betas_zero_snr`, ...).
        image_size: height and width of its images, pixels, where a condition names no others.
        self_conditioning: whether `denoise` takes the last estimate of the clean images.
    """

    scheduler_config: dict[str, Any]
    image_size: int
    self_conditioning: bool = False

    def shape_of(self, condition: Condition) -> tuple[int, int]:
        """Height and width of the images of a condition; a sampler's noise has them."""
        return condition.shape or (self.image_size, self.image_size)

    def prepare(self, condition: Condition) -> Condition:
        """Do once what every sampling step would repeat (the text tower), and mark it `prepared`."""
        return condition

    @abstractmethod
    def denoise(self, x: Tensor, t: Tensor, condition: Condition, previous: Tensor | None = None) -> Tensor:
        """The model's output for noisy images x (B, C, H, W) at timesteps t (B,).

        `previous` (B, C, H, W) is given to self-conditioned models alone, which must also do without.
        """


class OneStep(Generator):
    """A generator that makes images from a latent in one call of its network, or in a few of its own.

    Attributes:
        calls: calls of the network for one image.
    """

    calls: int = 1

    @abstractmethod
    def generate(self, condition: Condition, draws: Draws, truncation: float = 1.0) -> list[Tensor]:
        """Images (B, C, h, w) in [-1, 1] at every level, coarse to fine, the last at full size.

        `truncation` in [0, 1] draws the latent towards its mean; 1 leaves it alone.
        """

    def augment(self, condition: Condition, draws: Draws, level: float) -> Condition:
        """The condition with noise of `level` on its low-resolution images, for a super-resolution model.

        They keep their size, unless a model takes them upscaled.
        """
        if self.super_resolution is None or condition.low_res is None:
            return condition
        size = (condition.low_res.shape[-2], condition.low_res.shape[-1])
        return self.super_resolution.augmented(condition, size, draws, level)


class Critic(nn.Module, ABC):
    """A model that judges images beside texts. Owns its text tower and its augmentation.

    Attributes:
        gives_logits: whether adversarial losses may ask it; false for what is trained beside the generator
            without logits of its own, which losses find in `Step.parts`.
        saved_whole: whether checkpoints hold its frozen weights, too: those of a run that may be gone.
    """

    gives_logits: bool = True
    saved_whole: bool = False

    @abstractmethod
    def features(self, levels: Sequence[Tensor], draws: Draws) -> Any:
        """The trunk: features of one set of images at every level, coarse to fine.

        Must take a list of one level too (a denoiser's).
        """

    def read(self, text: TextEmbedding) -> Any:
        """What the critic's own text tower makes of a text; a training step calls it once for each.

        A critic without one need not define it.
        """
        return text

    @abstractmethod
    def heads(self, features: Any, text: Any) -> list[Tensor]:
        """Logits, each (B,), high for real images that fit `text`; one for each head.

        `text` is what `read` gave; where that is no `TextEmbedding`, one that was not read yet will do.
        """


class Sampler(ABC):
    """A way to sample images from a trained model.

    Attributes:
        steps, guidance: what is used when a call does not say.
        function_evaluations: images that networks were evaluated on in all calls so far; with guidance an
            image counts twice, with a model that guides once more. A sampler adds to it; of one that does
            not, no number is reported.
        graphs: replays calls of a denoiser as CUDA graphs, for a sampler that makes use of it; None: there
            are none.
    """

    steps: int = 1
    guidance: float = 1.0
    function_evaluations: int = 0
    graphs: Any = None

    @abstractmethod
    def __call__(
        self,
        model: Any,
        condition: Condition,
        *,
        steps: int | None = None,
        guidance: float | None = None,
        draws: Draws,
        progress: Callable[[int, int], None] | None = None,
    ) -> Tensor:
        """Images (B, C, H, W) in [-1, 1] for the captions of `condition`.

        `guidance` is the weight w of e_empty + w (e_text - e_empty); 1 means none. `progress` is
        called with (steps done, steps in all). A sampler that can begin at images also takes `edit`, an
        `ImageEdit` of B images or None, as a `DenoiserSampler` does; others are never given one.
        """


class TextEncoder(ABC):
    """A frozen encoder of captions.

    Attributes:
        width, length: D and the greatest L it gives.
    """

    width: int
    length: int

    @abstractmethod
    def encode(self, captions: Sequence[str]) -> TextEmbedding:
        """Embed captions; always `length` tokens long, so that embeddings can be joined."""

    def prepare(self, captions: Iterable[str]) -> tuple[str, ...]:
        """Told before training of every caption there will be; an encoder that is slow encodes them here.

        `captions` may repeat, and need not be gone through. Returns what a person should know.
        """
        return ()

    def words(self, caption: str) -> tuple[str, ...] | None:
        """The words that are read of a caption, where each is told from all others.

        A run keeps those it was trained on, and names those of a prompt that it never saw. None: the encoder
        reads parts of words, of which none is new.
        """
        return None

    def cut(self, caption: str) -> str | None:
        """What is read of a caption that is longer than `length`; None where all of it is."""
        return None

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Changes whenever the embedding of any caption would."""


Split = Literal["train", "validation"]


class Dataset(ABC):
    """Captioned images in two fixed splits, by index.

    Attributes:
        warnings: what a person should know before training on it, such as what was skipped.
        indexed_training: whether "train" can be read by index, as "validation" always can.
        notes: what a person should know of it that is no fault, such as which folders are its splits.
        trained_prompts: whether `prompts` gives captions that training shows, as nothing is held out.
    """

    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    indexed_training: bool = True
    trained_prompts: bool = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        take_old_names(cls, pictures="images")

    pictures = old_attribute("Dataset", "pictures", "images")

    @abstractmethod
    def size(self, split: Split) -> int:
        """Number of images in the split; 0 for "validation" where none are held out."""

    @abstractmethod
    def record(self, split: Split, index: int) -> Record:
        """Image `index` of the split; the same every time."""

    @abstractmethod
    def captions(self, split: Split, index: int) -> tuple[str, ...]:
        """The captions of image `index`, without decoding the image."""

    @abstractmethod
    def prompts(self, n: int, seed: int) -> list[str]:
        """`n` captions to judge a model on, not seen in training as far as the dataset can say."""

    def shapes(self, split: Split) -> Sequence[tuple[int, int]] | None:
        """Height and width of each image, where they differ: each batch is then of one shape.

        None: all are squares of the size that was asked for.
        """
        return None

    def images(self, captions: Sequence[str], seed: int) -> list[Tensor] | None:
        """A real image (C, H, W) uint8 of each caption, a held-out one where there is a choice.

        None where a caption belongs to no image. `seed` is for datasets that draw their images.
        """
        places: dict[str, tuple[Split, int]] = {}
        wanted = set(captions)
        splits: tuple[Split, ...] = ("validation", "train") if self.indexed_training else ("validation",)
        for place in ((split, index) for split in splits for index in range(self.size(split))):
            if len(places) == len(wanted):
                break
            for caption in wanted.intersection(self.captions(*place)):
                places.setdefault(caption, place)
        if len(places) < len(wanted):
            return None
        return [self.record(*places[caption]).image for caption in captions]

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Changes whenever any image or caption would."""


class StreamingDataset(Dataset):
    """Captioned images that come in an order of their own; only "validation" is by index."""

    indexed_training = False

    @abstractmethod
    def records(self, seed: int, rank: int, world: int, start: int) -> Iterator[Record]:
        """Training images of process `rank` of `world`, from its `start`-th on, without end.

        A pure function of its arguments; no two processes see the same image within an epoch.
        """
