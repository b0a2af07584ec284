"""What to do about a folder without captioned images."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

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
FROM_NAMES = (
    "import json,pathlib as p,re,sys;r=p.Path(sys.argv[1]);"
    'f=[i for i in sorted(r.rglob("*")) if i.suffix.lower() in {endings} and i.name[0]!="."];'
    '(r/"metadata.jsonl").write_text("".join(json.dumps(dict(file_name=i.relative_to(r).as_posix(),'
    'text=re.sub(r"[\\W\\d_]+"," ",{name}).strip() or "an image"))+"\\n" for i in f))'
)
"""Writes metadata.jsonl with captions from names, without digits (kohya's 10_dog)."""


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
    """How to write captions if there are none, from the names of folders or else of files."""
    by_folder = all(path.parent != root for path in images)
    endings = sorted({path.suffix.lower() for path in images})
    code = FROM_NAMES.format(endings=json.dumps(endings), name="i.parent.name" if by_folder else "i.stem")
    what, command = "folders" if by_folder else "files", shlex.join(["python", "-c", code, str(root)])
    return (
        "take them from the names of files and folders: --set data.captions=file_name; or "
        f"write a .txt beside each, or {METADATA[0]}; this writes it from the names of the {what}, "
        f"to be edited: `{command}`"
    )
