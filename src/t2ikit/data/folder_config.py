"""What a folder of captioned pictures takes. Imports no torch."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import Field, field_validator

from t2ikit.specs import DatasetConfig

SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
"""`hf:` and the like; one letter alone is a drive."""
FILE_ENDINGS = (".parquet", ".jsonl", ".tar", ".zip", ".csv", ".toml")


class FolderConfig(DatasetConfig):
    """A folder of pictures with a `metadata.jsonl`, or with a .txt file beside each picture."""

    caption_column: str | None = None
    """key of the caption in metadata.jsonl; none: `text`, or else `caption`"""
    background: str = "white"
    """colour behind transparent pixels: a name or #rrggbb"""
    flip: bool = False
    """show each training picture mirrored too, as one more picture; not where captions say left or right"""
    cache_mb: int = Field(512, ge=0)
    """memory for decoded pictures, MiB; a folder that does not fit is decoded as it is needed"""

    @field_validator("background")
    @classmethod
    def _is_a_colour(cls, value: str) -> str:
        from PIL import ImageColor

        ImageColor.getrgb(value)
        return value


def accepts_folder(spec: str) -> bool:
    """Whether a SPEC that names no dataset means a folder: it is one, or is written as a path to one."""
    if Path(spec).expanduser().is_dir():
        return True
    path_like = "/" in spec or "\\" in spec or spec.startswith((".", "~"))
    return path_like and not SCHEME.match(spec) and not spec.lower().endswith(FILE_ENDINGS)
