"""What metrics would have to fetch: reported with its size, and fetched if asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from t2ikit.core.metric import Download, NotMeasured
from t2ikit.errors import command


@dataclass(frozen=True)
class Needs:
    """What a metric lacks that can be had.

    Attributes:
        packages: as `pip install` takes them.
        downloads: what would be fetched.
    """

    packages: tuple[str, ...] = ()
    downloads: tuple[Download, ...] = ()


class NotFetched(NotMeasured):
    """A metric was left alone, as it was not asked for and would have to fetch something."""

    def __init__(self, name: str, downloads: Sequence[Download]) -> None:
        text = f"needs a download ({size(downloads)}): --metrics {name} fetches it"
        super().__init__(text, downloads=downloads)


def needs_of(error: NotMeasured | None) -> Needs | None:
    """What would help a metric that could not be measured; None where the message says all there is."""
    if error is None or not (error.packages or isinstance(error, NotFetched)):
        return None
    return Needs(error.packages, error.downloads)


def size(downloads: Sequence[Download]) -> str:
    """How much some downloads are together: "96 MB", or "size unknown"."""
    known = [one.megabytes for one in downloads if one.megabytes is not None]
    return f"{sum(known):.0f} MB" if len(known) == len(downloads) else "size unknown"


def unmeasured(not_measured: Mapping[str, str], needs: Mapping[str, Needs]) -> list[str]:
    """Lines of text: each metric with its reason, those that lack what can be had together."""
    lines = [f"{name}: not measured: {why}" for name, why in not_measured.items() if name not in needs]
    return lines + lacking(needs)


def lacking(needs: Mapping[str, Needs]) -> list[str]:
    """Lines that say what would be fetched or installed for metrics, with sizes: at most one for each."""
    fetched = {name: need for name, need in needs.items() if not need.packages}
    lines = []
    if fetched:
        lines.append(
            f"not measured, needs a download: {_listed(fetched)}: --metrics all fetches what is missing"
        )
    for packages in dict.fromkeys(need.packages for need in needs.values() if need.packages):
        of = {name: need for name, need in needs.items() if need.packages == packages}
        then = ", then --metrics all" if any(need.downloads for need in of.values()) else ""
        install = command("pip", "install", *packages)
        lines.append(f"not measured, needs packages: {_listed(of)}: {install}{then}")
    return lines


def _listed(needs: Mapping[str, Needs]) -> str:
    """Names with what each would fetch, those of the same files together."""
    names: dict[tuple[Download, ...], list[str]] = {}
    for name, need in needs.items():
        names.setdefault(need.downloads, []).append(name)
    return ", ".join(_joined(of, downloads) for downloads, of in names.items())


def _joined(names: Sequence[str], downloads: Sequence[Download]) -> str:
    if not downloads:
        return ", ".join(names)
    if len(names) == 1:
        return f"{names[0]} ({size(downloads)})"
    return f"{', '.join(names[:-1])} and {names[-1]} ({size(downloads)} for all of them)"
