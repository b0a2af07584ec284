"""The files of a CLIP that a metric looks through: where they are, which are missing, what they hold."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from huggingface_hub import constants, try_to_load_from_cache
from transformers import CLIPImageProcessor

from t2ikit.clip import FILES, Pixels
from t2ikit.errors import UserError
from t2ikit.interfaces import NotMeasured
from t2ikit.metrics.identity import folder_digest, versions
from t2ikit.offline import why_unreachable

MEGABYTES = {"openai/clip-vit-base-patch32": 605}
"""Sizes of weights on the Hub, as far as they are known."""


def place_of(model: str) -> str:
    """The folder that is meant, or the name as it is where it is an id on the Hub."""
    folder = Path(model).expanduser()
    return str(folder) if folder.is_dir() else model


def stands_on(model: str) -> dict[str, str]:
    """What the numbers of a CLIP depend on: its files, and the package that runs it."""
    folder = _folder(model)
    return {
        "files": "not here" if folder is None else folder_digest(folder),
        **versions("transformers"),
    }


def announce(model: str) -> None:
    """Say on stderr what is about to be downloaded, if anything is."""
    missing = _missing(model)
    if missing and _on_the_hub(model) and not constants.HF_HUB_OFFLINE:
        size = f", {MEGABYTES[model]} MB" if model in MEGABYTES else ""
        print(f"downloading {model} ({', '.join(missing)}{size}) to {_cache()}", file=sys.stderr)


def unopened(model: str, error: UserError) -> NotMeasured:
    """Why a CLIP could not be opened: which files are missing, and where they go."""
    if _on_the_hub(model) and (missing := _missing(model)):
        reason = why_unreachable("such model on the Hub")
        return NotMeasured(
            f"needs {', '.join(missing)} of {model} in {_cache()}: {reason}; or a folder with them, "
            "--set metrics.NAME.model=FOLDER"
        )
    got = "" if str(error.got) == model else f" ({error.got})"
    return NotMeasured(f"needs {model}: {error.what}{got}; wanted: {error.expected}; {error.fix}")


def image_processor(model: str, pixels: Pixels) -> CLIPImageProcessor:
    """The model's own preparation of pictures, CLIP's with its means where it has no file that says how."""
    height, width = pixels.size
    sizes: dict[str, Any] = {
        "size": {"shortest_edge": min(height, width)},
        "crop_size": {"height": height, "width": width},
    }
    try:
        return CLIPImageProcessor.from_pretrained(place_of(model), **sizes)
    except OSError:  # no preprocessor_config.json
        return CLIPImageProcessor(image_mean=list(pixels.mean), image_std=list(pixels.std), **sizes)


def _on_the_hub(model: str) -> bool:
    local = model.startswith((".", "~")) or Path(model).is_absolute() or model.count("/") != 1
    return not local and not Path(model).is_dir()


def _folder(model: str) -> Path | None:
    """Where its files are on this machine; None where they are not."""
    if not _on_the_hub(model):
        folder = Path(model).expanduser()
        return folder if folder.is_dir() else None
    try:
        kept = try_to_load_from_cache(model, "config.json")
    except ValueError:  # no id that the Hub would take
        return None
    return Path(kept).parent if isinstance(kept, str) else None


def _missing(model: str) -> list[str]:
    folder = _folder(model)
    return [
        name
        for name, patterns in FILES.items()
        if folder is None or not any(any(folder.glob(pattern)) for pattern in patterns)
    ]


def _cache() -> str:
    return str(constants.HF_HUB_CACHE).replace(str(Path.home()), "~", 1)
