"""Fonts for labels: DejaVu Sans, and for each character it lacks the first other font that has it.

Other fonts are those of the packages of the extra `fonts` (Noto Sans CJK, Noto Emoji and Noto Sans for more
scripts, all under the SIL Open Font License), then the system's. A character that no font has is shown as its
name in brackets where that reads well (an emoji), or else as an empty square.
"""

from __future__ import annotations

import functools
import importlib.util
import io
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from PIL import ImageDraw, ImageFont

if TYPE_CHECKING:
    from t2ikit.utils.plotting import FT2Font


FONT_SIZE = 13
"""Pixels."""
PACKAGES = ("noto_cjk_sans_otc", "manimgx_fonts", "manimgx_fonts_cjk")
"""Modules beside whose code fonts lie; they are not imported."""
USUAL = (
    r"Noto ?Sans ?CJK|Source ?Han ?Sans|NotoSans(SC|TC|JP|KR)|PingFang|Hiragino|msyh|YuGoth|malgun|wqy",
    r"Noto ?Emoji|seguiemj|seguisym|Symbola|Apple Symbols",
    r"Noto ?Sans|Arial ?Unicode|unifont",
)
"""Names of files of the system that are tried before its other fonts."""
UNWANTED = re.compile(r"italic|oblique|bold|black|thin|light|LastResort", re.IGNORECASE)
SQUARE, FLAG_A = "\N{WHITE SQUARE WITH ROUNDED CORNERS}", 0x1F1E6


@dataclass(frozen=True, eq=False)
class Face:
    """A font that labels are drawn in, and the characters it has."""

    font: ImageFont.FreeTypeFont
    glyphs: FT2Font

    @classmethod
    def open(cls, file: Path) -> Face:
        """A font file at the size of labels.

        Raises:
            OSError, RuntimeError: it is none, or has bitmaps of other sizes alone.
        """
        from t2ikit.utils.plotting import FT2Font

        return cls(ImageFont.truetype(str(file), FONT_SIZE), FT2Font(str(file)))

    def has(self, character: str) -> bool:
        """Whether there is a glyph for it, not just the box for what is missing."""
        return self.glyphs.get_char_index(ord(character)) != 0

    def shows(self, character: str) -> bool:
        """Whether it has it and draws it: fonts of colour alone draw nothing in ink."""
        return self.has(character) and self.font.getmask(character).getbbox() is not None


class LabelFont:
    """A text's characters, each in the first font that has it.

    Args:
        base: the font of everything it has.
        others: fonts to look in for the rest; opened when one is needed.
    """

    def __init__(self, base: Face, others: Iterator[Face]) -> None:
        self.base = base
        self._others, self._opened = others, list[Face]()
        self._found: dict[str, Face | None] = {}

    def getlength(self, text: str) -> float:
        """Width of a line, pixels."""
        return sum(face.font.getlength(part) for face, part in self.runs(text))

    def write(self, draw: ImageDraw.ImageDraw, x: float, y: float, text: str, ink: str) -> None:
        """Draw one line, the top of its tallest Latin letters at `y`."""
        baseline = y + self.base.font.getmetrics()[0]
        for face, part in self.runs(text):
            draw.text((x, baseline), part, fill=ink, font=face.font, anchor="ls")
            x += face.font.getlength(part)

    def runs(self, text: str) -> list[tuple[Face, str]]:
        """The text in pieces of one font each; what no font has is replaced."""
        pieces: list[tuple[Face, str]] = []
        for character in text:
            face, shown = self._choose(character, pieces[-1][0] if pieces else self.base)
            if pieces and pieces[-1][0] is face:
                pieces[-1] = face, pieces[-1][1] + shown
            elif shown:
                pieces.append((face, shown))
        return pieces

    def _choose(self, character: str, before: Face) -> tuple[Face, str]:
        """In which font a character is shown, and as what; marks and joiners go with the letter before."""
        joins = _is_ignorable(character)
        if (joins or unicodedata.category(character) in ("Mn", "Mc", "Me", "Sk")) and before.has(character):
            return before, character
        if joins:
            return before, ""
        face = self.find(character)
        return (self.base, self._stand_in(character)) if face is None else (face, character)

    def find(self, character: str) -> Face | None:
        """The first font that has a character; None where there is none."""
        if self.base.has(character):
            return self.base
        if character not in self._found:
            self._found[character] = next((face for face in self._all() if face.shows(character)), None)
        return self._found[character]

    def _all(self) -> Iterator[Face]:
        yield from self._opened
        for face in self._others:
            self._opened.append(face)
            yield face

    def _stand_in(self, character: str) -> str:
        name, category = unicodedata.name(character, "").lower(), unicodedata.category(character)
        if category in ("Mn", "Me", "Sk"):  # of a letter that is shown without it
            return ""
        if 0 <= ord(character) - FLAG_A < 26:
            return chr(ord("A") + ord(character) - FLAG_A)
        if category == "So" and name:
            return f"[{name}]"
        return SQUARE if self.base.has(SQUARE) else "?"


def _is_ignorable(character: str) -> bool:
    """Whether a character shows nothing of its own: joiners, and choices between forms of the one before."""
    chooses = unicodedata.name(character, "").startswith("VARIATION SELECTOR")
    return chooses or unicodedata.category(character) == "Cf"


@functools.lru_cache(maxsize=1)
def label_font() -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and has Latin with accents, Greek, Cyrillic and Arabic.

    Where it was taken out, Pillow's own font, which has the letters of English.
    """
    from t2ikit.utils.plotting import matplotlib

    try:
        return ImageFont.truetype(
            str(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf")), FONT_SIZE
        )
    except OSError:
        return cast(ImageFont.FreeTypeFont, ImageFont.load_default(size=FONT_SIZE))


@functools.lru_cache(maxsize=1)
def _label_fonts(base: ImageFont.FreeTypeFont) -> LabelFont:
    from t2ikit.utils.plotting import FT2Font

    path = base.path
    glyphs = FT2Font(path) if isinstance(path, str) else FT2Font(io.BytesIO(base.font_bytes))
    return LabelFont(Face(base, glyphs), other_faces())


def label_fonts() -> LabelFont:
    """`label_font`, and others for what it lacks."""
    return _label_fonts(label_font())


def other_faces() -> Iterator[Face]:
    """Fonts of packages, then of the system, as they are asked for, without those that cannot be opened."""
    for path in (*_packaged(), *_of_the_system()):
        try:
            yield Face.open(path)
        except (OSError, RuntimeError):
            continue


def _packaged() -> Iterator[Path]:
    for module in PACKAGES:
        spec = importlib.util.find_spec(module)
        for folder in spec.submodule_search_locations or [] if spec else []:
            fonts = (path for path in Path(folder).iterdir() if path.suffix in (".ttf", ".otf", ".ttc"))
            yield from sorted(path for path in fonts if not UNWANTED.search(path.stem))


def _of_the_system() -> list[Path]:
    from matplotlib.font_manager import findSystemFonts

    found = [Path(path) for path in findSystemFonts()]

    def rank(path: Path) -> tuple[int, str]:
        usual = (place for place, name in enumerate(USUAL) if re.search(name, path.stem, re.IGNORECASE))
        return next(usual, len(USUAL)), path.name

    return sorted((path for path in found if not UNWANTED.search(path.stem)), key=rank)
