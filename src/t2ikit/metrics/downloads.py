"""What metrics would have to fetch: told with its size, and fetched where that was asked for."""

from __future__ import annotations

from collections.abc import Sequence

from t2ikit.interfaces import Download


def size(downloads: Sequence[Download]) -> str:
    """How much some downloads are together: "96 MB", or "size unknown"."""
    known = [one.megabytes for one in downloads if one.megabytes is not None]
    return f"{sum(known):.0f} MB" if len(known) == len(downloads) else "size unknown"
