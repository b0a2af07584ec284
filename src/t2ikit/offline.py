"""Why something of the Hub could not be had, for messages."""

from __future__ import annotations

import os


def why_unreachable(what: str) -> str:
    """A clause that says what is likely wrong: told to be offline, or offline, or no such `what`."""
    if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"):
        return "this machine was told to stay offline (HF_HUB_OFFLINE)"
    return f"this machine is offline, or there is no {what}"
