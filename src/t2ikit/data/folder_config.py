"""What a folder of captioned images takes. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from t2ikit.data.captioned_config import SCHEME, SplitConfig

FILE_ENDINGS = (".parquet", ".jsonl", ".tar", ".zip", ".csv", ".toml")


class FolderConfig(SplitConfig):
    """A folder: images with `metadata.jsonl` or `metadata.csv` or a .txt beside each; .parquet; .tar."""

    caption_column: str | None = None
    """key of the caption in metadata; none: the first of text, caption, captions, prompt, description"""
    image_column: str | None = None
    """key of the image in .parquet files; none: the first of image, file_name, image, img, jpg, png"""


def accepts_folder(spec: str) -> bool:
    """Whether a SPEC that names no dataset means a folder: it is one, or is written as a path to one."""
    if Path(spec).expanduser().is_dir():
        return True
    path_like = "/" in spec or "\\" in spec or spec.startswith((".", "~"))
    return path_like and not SCHEME.match(spec) and not spec.lower().endswith(FILE_ENDINGS)
