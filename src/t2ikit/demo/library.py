"""gradio, told to send nothing, and refused where it cannot be kept from fetching."""

from __future__ import annotations

import os
from typing import Any

from t2ikit.errors import UserError
from t2ikit.utils.extras import PACKAGES, import_extra, install

SILENT = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}
"""Read by gradio, and by huggingface_hub when it is imported."""
WHAT = "t2ikit demo"
FETCH, LAUNCHED = "async_ssrf_protected_download", "has_launched"
"""Names of gradio's that no documentation promises, and that the page is closed by."""


async def fetch_nothing(*where: Any, **how: Any) -> str:
    """In place of gradio's function that fetches an address which a visitor gives for a file.

    Raises:
        UserError: always.
    """
    raise UserError("Only a file that was uploaded to this page can be used, and no address")


def import_gradio() -> Any:
    """Import gradio; before anything else imports huggingface_hub, or that is not told to send nothing.

    Raises:
        UserError: it is not installed, or it lacks what this page relies on to be closed.
    """
    os.environ.update(SILENT)
    gr = import_extra("gradio", "demo", WHAT)
    files: Any = import_extra("gradio.processing_utils", "demo", WHAT)
    for holder, name in ((files, FETCH), (gr.Blocks(analytics_enabled=False), LAUNCHED)):
        if not hasattr(holder, name):
            raise _unsafe(gr, name)
    setattr(files, FETCH, fetch_nothing)
    return gr


def _unsafe(gr: Any, name: str) -> UserError:
    return UserError(
        f"{WHAT} cannot be served safely with gradio {gr.__version__}",
        expected=", ".join(PACKAGES["demo"]),
        got=f"one without {name}, by which it keeps out files that were not uploaded",
        fix=install("demo"),
    )
