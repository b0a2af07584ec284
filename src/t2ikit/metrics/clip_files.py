"""A CLIP that a metric looks through: where its files are, which are missing, what they hold."""

from __future__ import annotations

from pathlib import Path

from t2ikit.core.metric import Download, NotMeasured
from t2ikit.errors import UserError
from t2ikit.metrics.features import Features, Network
from t2ikit.metrics.identity import folder_digest, versions
from t2ikit.nn.clip import FILES, find_folder, missing_files, open_clip, pooled
from t2ikit.utils.hub import MEGABYTES, cache, endpoint, is_id, kept
from t2ikit.utils.images import from_uint8


class ClipNetwork(Network):
    """The projected image embedding of a CLIP, not normalised.

    Args:
        model: a folder, or an id on the Hub.
    """

    def __init__(self, model: str) -> None:
        self.model = model

    def dependencies(self) -> dict[str, str]:
        """Its files, and the package that runs it."""
        return dependencies(self.model)

    def downloads(self) -> list[Download]:
        """The model, unless it is here."""
        return downloads(self.model)

    def fetch(self) -> None:
        """Fetch the model."""
        fetch(self.model)

    def open(self) -> Features:
        """The image tower."""
        try:
            clip, pixels = open_clip(self.model)
        except UserError as error:
            raise unopened(self.model, error) from error
        clip.eval()
        height, width = pixels.size
        return Features(
            f"CLIP {self.model}, antialiased bicubic to {height} x {width} px, "
            f"transformers {versions('transformers')['transformers']}",
            lambda images: pooled(clip.get_image_features(pixels(from_uint8(images)))),
        )


def dependencies(model: str) -> dict[str, str]:
    """What the numbers of a CLIP depend on: its files, and the packages that run it."""
    folder = _folder(model)
    return {
        "files": "not here" if folder is None else folder_digest(folder),
        **versions("transformers", "pillow"),
    }


def downloads(model: str) -> list[Download]:
    """What would have to be fetched of a CLIP: all of it, or nothing."""
    if not is_id(model) or not _missing(model):
        return []
    return [Download(model, MEGABYTES.get(model), endpoint())]


def fetch(model: str) -> None:
    """Fetch a CLIP, if it is not here.

    Raises:
        NotMeasured: it cannot be had.
    """
    try:
        find_folder(model)
    except UserError as error:
        raise unopened(model, error) from error


def unopened(model: str, error: UserError) -> NotMeasured:
    """Why a CLIP could not be opened: which files are missing, and where they go."""
    if is_id(model) and (missing := _missing(model)):
        return NotMeasured(
            f"needs {', '.join(missing)} of {model} in {cache()}: {error.got}; or a folder with them, "
            "--set metrics.NAME.model=FOLDER",
            downloads=downloads(model),
        )
    got = "" if str(error.got) == model else f" ({error.got})"
    return NotMeasured(f"needs {model}: {error.what}{got}; wanted: {error.expected}; {error.fix}")


def _folder(model: str) -> Path | None:
    """Where its files are on this machine; None where they are not."""
    if is_id(model):
        return kept(model)
    folder = Path(model).expanduser()
    return folder if folder.is_dir() else None


def _missing(model: str) -> list[str]:
    folder = _folder(model)
    return list(FILES) if folder is None else missing_files(folder)
