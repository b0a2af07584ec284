"""Fluent emoji with their names: some 3,300 captioned images of an npm package.

The drawings are by Microsoft (https://github.com/microsoft/fluentui-emoji, MIT); LobeHub packs those in 3D as
`@lobehub/fluent-emoji-3d` (MIT). Nothing is fetched here: npm installs the package, and its files are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from t2ikit.data.captioned import Captioned
from t2ikit.data.configs import FluentEmojiConfig
from t2ikit.data.openmoji import Codes, caption
from t2ikit.data.problems import Problems
from t2ikit.data.source import Entry, FileSource
from t2ikit.errors import UserError
from t2ikit.utils.extras import NPM, import_extra, install, npm_folder

EXTRA = "fluent-emoji"
TONES = frozenset(range(0x1F3FB, 0x1F400))
JOINER, DRAWN = 0x200D, 0xFE0F
"""Joins characters to one; asks for a drawing in place of a letter."""
PERSON, BY_SEX = 0x1F9D1, {0x1F468, 0x1F469}
SEXES = frozenset((0x2640, 0x2642))
BLACK_FLAG, TAGS_END = 0x1F3F4, 0xE007F
"""Flags of regions are a black flag with the tags of letters, of which the package's names lack the last."""


def open_fluent_emoji(config: FluentEmojiConfig) -> Captioned:
    """The dataset.

    Raises:
        UserError: a package is missing.
    """
    return Captioned(config, FluentEmojiSource(config))


class FluentEmojiSource(FileSource):
    """The emoji of the package that have a name; variants of one have the same group.

    Args:
        config: where the package is, and which emoji.

    Raises:
        UserError: a package is missing.
    """

    def __init__(self, config: FluentEmojiConfig) -> None:
        self.label, self.unused = "fluent-emoji", []
        self.problems = Problems(self.label)
        found: dict[Codes, tuple[Codes, Path]] = {}
        for codes, path in drawings(package_folder(config.package)):
            if config.skin_tones or not TONES.intersection(codes):
                found.setdefault(plain(codes), (codes, path))  # a few are there twice
        self.entries = sorted(self._named(found), key=lambda entry: entry.name)

    @staticmethod
    def _named(found: dict[Codes, tuple[Codes, Path]]) -> Iterator[Entry]:
        for short, (codes, path) in found.items():
            text = name(codes)
            if text is not None:
                group = "-".join(f"{code:04x}" for code in base(short))
                yield Entry("-".join(f"{code:04x}" for code in short), (text,), path, group=group)


def package_folder(chosen: str | None) -> Path:
    """The folder of the drawings.

    Args:
        chosen: the folder of the npm package; None: where `npm install` of the advice puts it.

    Raises:
        UserError: they are not there.
    """
    package = Path(chosen).expanduser() if chosen else npm_folder(EXTRA)
    folder = package / "assets"
    if folder.is_dir():
        return folder
    raise UserError(
        f"fluent-emoji: the npm package {NPM[EXTRA]} is not installed",
        expected=f"its drawings in {folder}",
        got="no such folder",
        fix=f"{install(EXTRA)}" if chosen is None else "give the folder of the package, which holds assets/",
    )


def drawings(folder: Path) -> Iterator[tuple[Codes, Path]]:
    """The code points and the file of each drawing, sorted."""
    for path in sorted(folder.iterdir()):
        if re.fullmatch(r"[0-9a-f]+([-_][0-9a-f]+)*", path.stem):
            codes = tuple(int(code, 16) for code in re.split("[-_]", path.stem))
            region = codes[0] == BLACK_FLAG and codes[-1] > BLACK_FLAG and codes[-1] != TAGS_END
            yield ((*codes, TAGS_END) if region else codes), path


def plain(codes: Codes) -> Codes:
    """Code points without those that only ask for a drawing: the same for every way to write an emoji."""
    return tuple(code for code in codes if code != DRAWN)


def base(codes: Codes) -> Codes:
    """What the variants of an emoji have in common: those by skin tone, and of a person by sex."""
    left = (code for code in codes if code not in TONES | SEXES | {JOINER, DRAWN})
    return tuple(PERSON if code in BY_SEX else code for code in left) or codes


def name(codes: Codes) -> str | None:
    """An emoji's name as `openmoji` has it; of one that is newer than Python's names that of `emoji`."""
    names = import_extra("emoji", EXTRA, "fluent-emoji").EMOJI_DATA
    short = plain(codes)
    if len(short) > 1:
        return caption(codes)
    known = names.get(chr(short[0]))
    return caption(short) or (known and " ".join(known["en"].strip(":").replace("_", " ").lower().split()))
