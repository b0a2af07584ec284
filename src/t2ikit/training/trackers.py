"""Scalars and images to TensorBoard, Weights & Biases and Trackio, under the run folder.

accelerate's trackers write where they can. Trackio is spoken to directly: accelerate's tracker for it takes
no images, and writes a key of its own into the config.
"""

from __future__ import annotations

import importlib.util
import io
import json
import netrc
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import numpy as np
from accelerate import PartialState
from accelerate.tracking import GeneralTracker, TensorBoardTracker, WandBTracker
from PIL import Image

from t2ikit.core.rng import derive_seed
from t2ikit.errors import UserError, did_you_mean
from t2ikit.utils.extras import install
from t2ikit.utils.files import write_text
from t2ikit.utils.images import flattened

Log = Callable[[str], None]


class Backend(Protocol):
    """One place that scalars and images go to."""

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Record scalars of a step."""

    def images(self, step: int, name: str, image: Image.Image) -> None:
        """Record an image of a step."""

    def close(self) -> None:
        """Write out what is pending."""


class Trackers:
    """All trackers of one run; made and called in the main process alone.

    A run that is resumed in the same folder goes on in the same TensorBoard log, wandb run and Trackio run.
    TensorBoard forgets what was logged at or after the first step that comes again, wandb keeps what it
    has, Trackio shows both.

    Args:
        names: out of "tensorboard", "wandb", "trackio".
        run: the run folder; all files go to its folder `trackers`, those of Trackio only where the
            environment variable TRACKIO_DIR names no other place.
        project: what wandb and Trackio file the run under.
        config: shown beside the run.
        log: told what the user should know.

    Raises:
        UserError: an unknown name, a package that is not installed, or a wandb that cannot start.
    """

    def __init__(
        self, names: Sequence[str], run: Path, project: str, config: dict[str, Any], log: Log = print
    ) -> None:
        names = list(dict.fromkeys(names))
        check_trackers(names)
        folder = run / "trackers"
        folder.mkdir(parents=True, exist_ok=True)
        identity = run_identity(run)
        PartialState()  # accelerate's trackers cannot log without it; a no-op where training has made one
        self._backends: list[Backend] = []
        for name in names:
            self._backends.append(BACKENDS[name](folder, identity, project, config, log))

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Record scalars; steps must not go down."""
        for backend in self._backends:
            backend.log(step, scalars)

    def images(self, step: int, name: str, image: Image.Image) -> None:
        """Record an image, such as a grid of validation prompts."""
        for backend in self._backends:
            backend.images(step, name, image)

    def close(self) -> None:
        """Write out what is pending; nothing can be logged afterwards."""
        for backend in self._backends:
            backend.close()
        self._backends = []


def check_trackers(names: Sequence[str]) -> None:
    """Refuse trackers that are not here.

    Raises:
        UserError: an unknown name, or a package that is not installed.
    """
    for name in names:
        _check(name)


def _check(name: str) -> None:
    if name not in BACKENDS:
        raise UserError(
            f"there is no tracker called {name!r}",
            expected=" or ".join(BACKENDS),
            got=name,
            fix=did_you_mean(name, BACKENDS),
        )
    if importlib.util.find_spec(name) is None:
        raise UserError(
            f"the tracker {name!r} needs the package {name}, which is not installed",
            fix=f"{install(name)}, or leave {name} out of train.trackers",
        )


def run_identity(run: Path) -> str:
    """The run's name to trackers: the folder's name and a hash with the time of the first call.

    Kept in the run folder, so that it outlives a resume and a move.
    """
    file = run / "trackers" / "identity"
    if not file.exists():
        label = re.sub(r"[^A-Za-z0-9_.-]+", "-", run.resolve().name)[:64].strip("-") or "run"
        write_text(file, f"{label}-{derive_seed(label, time.time_ns()):016x}\n")
    return file.read_text(encoding="utf-8").strip()


def _start(tracker: GeneralTracker) -> None:
    """Start a tracker where making it does not do so already (accelerate before 1.7)."""
    start = getattr(tracker, "start", None)
    if start is not None:
        start()


class TensorBoard:
    """Event files in `trackers/tensorboard`; values are float32 there."""

    def __init__(self, folder: Path, identity: str, project: str, config: dict[str, Any], log: Log) -> None:
        self._folder, self._config = folder, config
        self._tracker: TensorBoardTracker | None = None

    def _open(self, step: int) -> TensorBoardTracker:
        """Opened at the first step, for that is where an earlier log is to be cut off."""
        if self._tracker is None:
            self._tracker = TensorBoardTracker("tensorboard", str(self._folder), purge_step=step)
            _start(self._tracker)
            config = json.dumps(self._config, indent=1, default=str)
            self._tracker.tracker.add_text("config", f"```json\n{config}\n```", step)
        return self._tracker

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Record scalars of a step."""
        self._open(step).log(dict(scalars), step=step)

    def images(self, step: int, name: str, image: Image.Image) -> None:
        """Record an image of a step."""
        pixels = np.asarray(flattened(image))[None]
        self._open(step).log_images({name: pixels}, step=step, dataformats="NHWC")

    def close(self) -> None:
        """Close the event file."""
        if self._tracker is not None:
            self._tracker.finish()


class WandB:
    """A Weights & Biases run; without a login it is kept in the run folder, to be sent later."""

    def __init__(self, folder: Path, identity: str, project: str, config: dict[str, Any], log: Log) -> None:
        import wandb

        settings = wandb.setup().settings
        mode = os.environ.get("WANDB_MODE") or settings.mode
        if mode == "online" and not wandb_logged_in(settings.base_url, getattr(settings, "api_key", None)):
            mode = "offline"
            log(f"wandb: not logged in, so the run stays in {folder / 'wandb'}; `wandb sync` sends it later")
        try:
            self._tracker = WandBTracker(
                project,
                dir=str(folder),
                id=identity,
                name=identity,
                resume="allow",
                mode=mode,
                settings=wandb.Settings(console="off", silent=True),
            )
            _start(self._tracker)
        except (wandb.Error, OSError) as error:
            raise UserError(
                "wandb could not start",
                got=error,
                fix="check the network and `wandb login`, or set WANDB_MODE=offline and `wandb sync` later",
            ) from error
        self._tracker.store_init_configuration(config)
        if mode == "online":
            log(f"wandb: {self._tracker.tracker.url}")

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Record scalars of a step."""
        self._tracker.log(dict(scalars), step=step)

    def images(self, step: int, name: str, image: Image.Image) -> None:
        """Record an image of a step."""
        self._tracker.log_images({name: [image]}, step=step)

    def close(self) -> None:
        """Write out, and upload when online."""
        self._tracker.finish()


def wandb_logged_in(base_url: str, api_key: str | None = None) -> bool:
    """Whether wandb would find a key without asking, in the places it looks."""
    if api_key or os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    given = os.environ.get("NETRC")
    files = [Path(given).expanduser()] if given else [Path.home() / ".netrc", Path.home() / "_netrc"]
    for file in files:
        try:
            if netrc.netrc(str(file)).authenticators(urlsplit(base_url).netloc):
                return True
        except (OSError, netrc.NetrcParseError):
            continue
    return False


class Trackio:
    """A Trackio run in `trackers/trackio`, or where TRACKIO_DIR says."""

    def __init__(self, folder: Path, identity: str, project: str, config: dict[str, Any], log: Log) -> None:
        if "trackio" not in sys.modules:  # it reads the variable when it is first imported
            os.environ.setdefault("TRACKIO_DIR", str((folder / "trackio").resolve()))
        import trackio

        with redirect_stdout(io.StringIO()):
            self._run = trackio.init(
                project=project, name=identity, resume="allow", config=config, embed=False
            )
        log(f"trackio: TRACKIO_DIR={trackio.utils.TRACKIO_DIR} trackio show --project {project}")

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Record scalars of a step."""
        self._run.log(dict(scalars), step=step)

    def images(self, step: int, name: str, image: Image.Image) -> None:
        """Record an image of a step."""
        import trackio

        self._run.log({name: trackio.Image(image, caption=name)}, step=step)

    def close(self) -> None:
        """Wait until all is written."""
        import trackio

        with redirect_stdout(io.StringIO()):
            trackio.finish()


BACKENDS: dict[str, Callable[[Path, str, str, dict[str, Any], Log], Backend]] = {
    "tensorboard": TensorBoard,
    "wandb": WandB,
    "trackio": Trackio,
}
