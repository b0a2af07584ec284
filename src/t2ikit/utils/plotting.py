"""matplotlib, whatever MPLBACKEND says, and what we use of it: Agg draws our figures, without a display.

matplotlib refuses to be imported where MPLBACKEND names a backend that is not installed, as in a process that
a notebook of another environment started. Import it from here.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_new = "matplotlib" not in sys.modules
_backend = os.environ.pop("MPLBACKEND", None)
try:
    import matplotlib
    from matplotlib.ft2font import FT2Font
finally:
    if _backend is not None:
        os.environ["MPLBACKEND"] = _backend

if _new and _backend:
    with suppress(ValueError):  # for pyplot, which the user may import later
        matplotlib.rcParams["backend"] = _backend

__all__ = ["FT2Font", "agg_figure", "matplotlib"]


def agg_figure(**settings: Any) -> Figure:
    """A figure that Agg draws. Labels of images need matplotlib's fonts alone, so figures are imported here.

    Args:
        **settings: of `matplotlib.figure.Figure`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(**settings)
    FigureCanvasAgg(figure)
    return figure
