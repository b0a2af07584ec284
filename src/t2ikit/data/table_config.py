"""What a table of captioned images takes, in a file or on the Hub. Imports no torch."""

from __future__ import annotations

from t2ikit.data.captioned_config import SplitConfig

ENDINGS = (".parquet", ".jsonl")


class TableConfig(SplitConfig):
    """A `.jsonl` or `.parquet` file with an image and its captions in each row."""

    image_column: str | None = None
    """key of the image; none: the first of image, file_name, image, img, jpg, png"""
    caption_column: str | None = None
    """key of the captions; none: the first of text, caption, captions, prompt, description"""


class HubConfig(TableConfig):
    """A dataset of the Hugging Face Hub, `hf:owner/name` or `hf:owner/name:split`."""

    revision: str | None = None
    """branch, tag or commit; none: the newest"""
    subset: str | None = None
    """which of the dataset's configurations; none: its default"""


def accepts_table(spec: str) -> bool:
    """Whether a SPEC that names no dataset is a table's file."""
    return spec.lower().endswith(ENDINGS)


def accepts_hub(spec: str) -> bool:
    """Whether a SPEC is one of the Hub's."""
    return spec.startswith("hf:")
