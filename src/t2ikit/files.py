"""Files that are there whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image


def write_text(path: Path, text: str) -> None:
    """Write a text file beside and rename it into place."""
    beside = path.with_name(f".{path.name}.writing")
    with beside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


def write_json(path: Path, value: Any) -> None:
    """Write JSON, readable and with a final newline, beside and rename it into place."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write a PNG beside and rename it into place, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.writing")
    try:
        picture.save(beside, format="PNG")
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
