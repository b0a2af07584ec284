"""What to do about a folder without captioned images."""

from __future__ import annotations

import shlex
from pathlib import Path

from t2ikit.data.formats.names import caption_of
from t2ikit.data.problems import SHOWN
from t2ikit.errors import UserError
from t2ikit.utils.quoting import visible

METADATA = ("metadata.jsonl", "metadata.csv", "metadata.tsv")
TAR = ("tar", "-xf", "{file}", "-C", "{folder}")
UNPACK = {
    **dict.fromkeys((".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst"), TAR),
    ".zip": ("python", "-m", "zipfile", "-e", "{file}", "{folder}"),
}
"""Commands that unpack archives which are not read directly."""


def nothing_found(root: Path, files: list[Path]) -> UserError:
    """The error of a folder that has neither captioned images nor files that hold some."""
    endings = sorted({path.suffix.lower() or path.name for path in files})
    packed = next((path for path in files if path.name.lower().endswith(tuple(UNPACK))), None)
    fix = f"write captions beside the images (cat.png, cat.txt) or one line an image into {METADATA[0]}"
    if packed is not None:
        ending = next(ending for ending in UNPACK if packed.name.lower().endswith(ending))
        words = [word.format(file=packed, folder=packed.parent) for word in UNPACK[ending]]
        fix = f"unpack what is packed: `{shlex.join(words)}`"
    return UserError(
        f"{root}: no captioned image in this folder",
        expected=f"{METADATA[0]} with the keys file_name and text, images with a .txt file beside each, "
        "or .parquet or .tar files",
        got=f"{len(files)} files ({visible(', '.join(endings[:SHOWN]))})" if files else "an empty folder",
        fix=fix,
    )


def captions_from_names(root: Path, images: list[Path]) -> str:
    """How to come by captions if there are none: from the names of files and folders, with an example."""
    name = images[0].relative_to(root).as_posix() if images else ""
    example = f" ({visible(name)} gives {visible(caption_of(name))!r})" if caption_of(name) else ""
    return (
        f"take them from the names of files and folders: --set data.captions=file_name{example}; "
        f"or write a .txt beside each image, or {METADATA[0]}"
    )
