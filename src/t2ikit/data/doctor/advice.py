"""Settings that suit a dataset."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from t2ikit.core.interfaces import Dataset
from t2ikit.data.configs import CaptionedConfig
from t2ikit.data.doctor.files import FileFacts
from t2ikit.data.doctor.specimens import Specimens

SIZES = (32, 64, 128, 256)
FEW = 2_000
"""Images below which trained weights are the better start."""
LOSS = 0.1
"""Share of the pixels that a crop may lose without advice to keep them."""
GRAY = 2.0
"""Levels by which the channels of a gray image may differ."""


@dataclass(frozen=True)
class Advice:
    """What suits a dataset.

    Attributes:
        rows: setting, value and reason.
        words: of a command to begin with.
    """

    rows: list[tuple[str, str, str]]
    words: list[str]


def advise(
    dataset: Dataset,
    spec: str,
    specimens: Specimens,
    facts: Mapping[int, FileFacts],
    sizes: Sequence[tuple[int, int]],
    recipe: str | None,
    settings: Sequence[str] = (),
) -> Advice:
    """What to train with.

    Args:
        dataset: to train on.
        spec: what it is called.
        specimens, facts: what was looked at.
        sizes: original width and height of its images; none where there are no files.
        recipe: one that is made for this dataset; None: there is none.
        settings: `KEY=VALUE` strings that it was opened with; they stay.
    """
    config = getattr(dataset, "config", None)
    rows: list[tuple[str, str, str]] = []
    chosen = {setting.partition("=")[0] for setting in settings}
    if isinstance(config, CaptionedConfig) and sizes and recipe is None:
        found = (_fit(sizes), _channels(specimens, facts), _size(sizes))
        rows = [row for row in found if row[0] not in chosen]
    words = ["t2ikit", "train", *_start(dataset, specimens, recipe, rows), "--data", spec]
    for setting in settings:
        words += ["--set", setting]
    known = {} if config is None else {f"data.{key}": str(value) for key, value in config}
    for key, value, _ in rows:
        if key.startswith("data.") and known.get(key) != value:
            words += ["--set", f"{key}={value}"]
    rows.append(("minutes", "--dry-run", "this times a few steps on your machine; it depends on that"))
    return Advice(rows, [*words, "--dry-run"])


def _fit(sizes: Sequence[tuple[int, int]]) -> tuple[str, str, str]:
    """How to make squares of images."""
    lost = statistics.fmean(1 - min(size) / max(size) for size in sizes)
    oblong = sum(width != height for width, height in sizes)
    if not oblong:
        return ("data.fit", "crop", "all images are square, so nothing is cut off")
    if lost <= LOSS:
        return ("data.fit", "crop", f"a centre square loses {lost:.0%} of the pixels")
    ways = get_args(CaptionedConfig.model_fields["fit"].annotation)
    keeps = f"a centre square would lose {lost:.0%} of the pixels; "
    if "buckets" in ways:
        return ("data.fit", "buckets", f"{keeps}batches by shape keep all (denoisers alone; for a GAN pad)")
    return ("data.fit", "pad", f"{keeps}padding keeps all")


def _channels(specimens: Specimens, facts: Mapping[int, FileFacts]) -> tuple[str, str, str]:
    """Which channels images need."""
    clear = sum(fact.transparent for fact in facts.values())
    if facts and 2 * clear >= len(facts):
        return ("data.channels", "rgba", f"{clear:,} of {len(facts):,} files are transparent in places")
    thumbnails = specimens.thumbnails
    if float((thumbnails.amax(1) - thumbnails.amin(1)).max()) <= GRAY:
        return ("data.channels", "gray", "no image has a colour")
    opaque = len(facts) - clear
    return ("data.channels", "rgb", f"there are colours, and {opaque:,} of {len(facts):,} files are opaque")


def _size(sizes: Sequence[tuple[int, int]]) -> tuple[str, str, str]:
    """The size to begin with."""
    short = statistics.quantiles([min(size) for size in sizes], n=20)[0] if len(sizes) > 1 else min(sizes[0])
    most = max((size for size in SIZES if size <= short), default=SIZES[0])
    if most == SIZES[0]:
        return (
            "data.size",
            str(most),
            f"one in twenty images has a short side of {short:.0f} pixels or less",
        )
    return (
        "data.size",
        str(SIZES[0]),
        f"to begin with, for a CPU; files suffice for up to {most}, and twice the size takes some four "
        "times as long",
    )


def _start(
    dataset: Dataset, specimens: Specimens, recipe: str | None, rows: list[tuple[str, str, str]]
) -> list[str]:
    """Words of the command that choose the recipe; adds the reason to the rows."""
    if recipe is not None:
        rows.append(("recipe", recipe, "made for this dataset"))
        return ["--plugin", recipe.partition("/")[0], "--recipe", recipe]
    count = len(specimens.places("train"))
    gray = any(row[1] in ("gray", "rgba") and row[0] == "data.channels" for row in rows)
    if count < FEW and not gray:
        rows.append(("start", "--init creatures", f"{count:,} images are few: trained weights are ahead"))
        return ["--init", "creatures"]
    rows.append(("recipe", "imagen/default", "32 px, minutes on a CPU; on a GPU imagen/imagen-64-v"))
    return ["--plugin", "imagen"]
