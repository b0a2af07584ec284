"""Packages that metrics stand on, which a plain installation does not have."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from types import ModuleType

from t2ikit.core.metric import Download, NotMeasured
from t2ikit.errors import UserError
from t2ikit.metrics.downloads import size
from t2ikit.utils.extras import PACKAGES, import_extra, install, is_installed


def library(module: str) -> ModuleType:
    """Import a module of the extra `metrics`.

    Raises:
        NotMeasured: it is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return import_extra(module, "metrics", "this metric")
    except UserError as error:
        raise _lacking(module) from error
    except RuntimeError as error:  # torchvision of another torch
        raise NotMeasured(f"{module.split('.')[0]} cannot be imported: {error}") from error


def check_installed(module: str, downloads: Sequence[Download]) -> None:
    """Refuse a metric whose package is missing, saying what it would have to fetch besides.

    Raises:
        NotMeasured: `module` is not installed.
    """
    if not is_installed(module):
        raise _lacking(module, downloads)


def _lacking(module: str, downloads: Sequence[Download] = ()) -> NotMeasured:
    text = f"needs the package {module.split('.')[0]}: {install('metrics')}"
    if downloads:
        text += f"; then a download ({size(downloads)})"
    return NotMeasured(text, packages=PACKAGES["metrics"], downloads=downloads)
