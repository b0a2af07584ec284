"""What is wrong with a dataset, or worth knowing before training: each kind with its images and a remedy."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from t2ikit.core.interfaces import TextEncoder
from t2ikit.data.doctor.files import FileFacts
from t2ikit.data.doctor.similar import contrast, nearest
from t2ikit.data.doctor.specimens import SPLITS, Specimen, Specimens
from t2ikit.data.doctor.survey import limit

BLANK = 1.0
"""Standard deviation, levels, below which an image has one colour."""
LONG = 2.0
"""Long side to short side from which on a crop to a square loses half of an image or more."""


@dataclass(frozen=True)
class Example:
    """Images that show a finding, each under its name.

    Attributes:
        images: one, or two that are compared.
        note: what of them it is.
    """

    images: tuple[Specimen, ...]
    note: str = ""


@dataclass(frozen=True)
class Finding:
    """Something that was found.

    Attributes:
        kind: its name, the same for all datasets.
        count, total: how many, of how many.
        what: what of, and what they are.
        fix: what to do; "" for what need not be mended.
        serious: whether it harms training or its numbers.
        examples: some of them, or all.
    """

    kind: str
    count: int
    total: int
    what: str
    fix: str = ""
    serious: bool = False
    examples: Sequence[Example] = ()

    @property
    def sentence(self) -> str:
        """How many, and what they are."""
        return f"{self.count:,} of {self.total:,} {self.what}"


def find(specimens: Specimens, facts: Mapping[int, FileFacts], encoder: TextEncoder) -> list[Finding]:
    """Everything that was found, what is serious first.

    Args:
        specimens: what is looked at.
        facts: of their files, by place, where those were read.
        encoder: tells which captions it would cut, and words apart.
    """
    found = [*_repeats(specimens), *_leaks(specimens), *_captions(specimens, encoder)]
    found += [_blank(specimens), *_files(specimens, facts)]
    return sorted((one for one in found if one.count), key=lambda one: not one.serious)


def _repeats(specimens: Specimens) -> list[Finding]:
    """Images that are another one of the same split again."""
    exact, near = [], []
    for split in SPLITS:
        places = specimens.places(split)
        same = _same_files(specimens, places, places)
        again = {place for place, _ in same}
        single = [place for place in places if place not in again]
        exact += same
        near += nearest(specimens.thumbnails, single, single, earlier=True)
    total = len(specimens.items)
    return [
        Finding(
            "exact duplicates",
            len(exact),
            total,
            "images, the same file as another one",
            "delete them: they are shown more often than the others",
            True,
            _pairs(specimens, exact),
        ),
        Finding(
            "near-duplicates",
            len(near),
            total,
            "images, almost the same as another one",
            "look at them, and delete those that show nothing new",
            examples=_pairs(specimens, near),
        ),
    ]


def _same_files(specimens: Specimens, places: Iterable[int], among: Iterable[int]) -> list[tuple[int, int]]:
    """Pairs of a place and the first of `among` whose file is the same, if that is another."""
    first: dict[str, int] = {}
    for place in among:
        first.setdefault(specimens.items[place].digest, place)
    first.pop("", None)
    found = ((place, first.get(specimens.items[place].digest, place)) for place in places)
    return [(place, other) for place, other in found if place != other]


def _pairs(specimens: Specimens, pairs: Iterable[tuple[int, int]]) -> list[Example]:
    return [Example((specimens.items[place], specimens.items[other])) for place, other in pairs]


def _leaks(specimens: Specimens) -> list[Finding]:
    """Held-out images and captions that training sees, too."""
    train, held_out = specimens.places("train"), specimens.places("validation")
    same = _same_files(specimens, held_out, train)
    known = {place for place, _ in same}
    alike = nearest(specimens.thumbnails, [place for place in held_out if place not in known], train)
    captions = {caption for place in train for caption in specimens.items[place].captions}
    told = [place for place in held_out if captions.intersection(specimens.items[place].captions)]
    return [
        Finding(
            "leakage",
            len(same) + len(alike),
            len(held_out),
            "held-out images, which training sees, too, or almost: losses and metrics flatter the model",
            "delete one of both, or put both into one split (folders train/ and validation/)",
            True,
            _pairs(specimens, sorted([*same, *alike])),
        ),
        Finding(
            "captions in both splits",
            len(told),
            len(held_out),
            "held-out images, with a caption of training",
            examples=[Example((specimens.items[place],)) for place in told],
        ),
    ]


def _captions(specimens: Specimens, encoder: TextEncoder) -> list[Finding]:
    """Captions that are too long, the same for several images, or of words that training lacks."""
    items, train = specimens.items, [specimens.items[place] for place in specimens.places("train")]
    long = [(item, part) for item in items for part in _kept(item, encoder)[:1]]
    owners: dict[str, list[Specimen]] = defaultdict(list)
    for item in train:
        for caption in dict.fromkeys(item.captions):
            owners[caption].append(item)
    shared = {id(item): item for several in owners.values() if len(several) > 1 for item in several}
    return [
        Finding(
            "cut captions",
            len(long),
            len(items),
            f"images, with a caption of more than {limit(encoder)}",
            f"shorten them, or train with {_longer(items, encoder)}",
            True,
            [Example((item,), f"read: {part}") for item, part in long],
        ),
        Finding(
            "shared captions",
            len(shared),
            len(train),
            "training images, with the caption of another one, so no prompt tells them apart",
            examples=[Example((item,)) for item in shared.values()],
        ),
        _unknown(specimens, encoder),
    ]


def _kept(item: Specimen, encoder: TextEncoder) -> list[str]:
    """What is read of an image's captions that are cut."""
    return [part for caption in item.captions if (part := encoder.cut(caption)) is not None]


def _longer(items: Sequence[Specimen], encoder: TextEncoder) -> str:
    """The setting that reads every caption: of words one up to 127, a multiple of 8."""
    if encoder.words("") is None:
        return "a larger text.length"
    longest = max(len(caption.split()) for item in items for caption in item.captions)
    return f"--set text.length={min(128, max(encoder.length, 8 * -(-(longest + 2) // 8)))}"


def _unknown(specimens: Specimens, encoder: TextEncoder) -> Finding:
    """Words of held-out captions that training never sees: their vectors are random to the model."""
    items = specimens.items

    def words(place: int) -> set[str]:
        return {word for caption in items[place].captions for word in encoder.words(caption) or ()}

    held_out = {place: words(place) for place in specimens.places("validation")}
    known = set[str]().union(*map(words, specimens.places("train")))
    every = set[str]().union(*held_out.values())
    unknown = sorted(every - known)
    return Finding(
        "unknown words",
        len(unknown),
        len(every),
        "words of held-out captions, never seen in training",
        examples=[
            Example((items[place],), ", ".join(sorted(said - known)))
            for place, said in held_out.items()
            if said - known
        ],
    )


def _blank(specimens: Specimens) -> Finding:
    """Images with nothing on them."""
    flat = (contrast(specimens.thumbnails) < BLANK).tolist()
    blank = [item for item, is_flat in zip(specimens.items, flat, strict=True) if is_flat]
    examples = [Example((item,)) for item in blank]
    return Finding(
        "blank images", len(blank), len(flat), "images, of one colour all over", "delete them", True, examples
    )


def _files(specimens: Specimens, facts: Mapping[int, FileFacts]) -> list[Finding]:
    """What files have that training does not see, or sees otherwise."""

    def finding(
        kind: str, notes: Mapping[int, str], what: str, fix: str = "", serious: bool = False
    ) -> Finding:
        examples = [Example((specimens.items[place],), note) for place, note in notes.items()]
        return Finding(kind, len(notes), len(facts), f"files, {what}", fix, serious, examples)

    long = {
        place: f"{fact.width} x {fact.height}"
        for place, fact in facts.items()
        if max(fact.width, fact.height) >= LONG * min(fact.width, fact.height)
    }
    return [
        finding(
            "colour profiles",
            {place: fact.profile for place, fact in facts.items() if fact.profile},
            "with a colour profile other than sRGB, which is ignored: colours are off",
            "save them as sRGB",
            True,
        ),
        finding(
            "CMYK",
            {place: "" for place, fact in facts.items() if fact.cmyk},
            "for printing: their colours are only estimated",
            "save them as sRGB",
            True,
        ),
        finding(
            "16 bits",
            {place: "" for place, fact in facts.items() if fact.deep},
            "of whose bits 8 are kept",
        ),
        finding(
            "long images",
            long,
            "with one side at least twice the other: a centre square keeps half of them or less",
            "data.fit=pad or buckets keeps more of them; or cut them yourself",
        ),
        finding(
            "transparency",
            {place: "" for place, fact in facts.items() if fact.transparent},
            "with transparent pixels, which data.background fills; data.channels=rgba keeps them",
        ),
    ]
