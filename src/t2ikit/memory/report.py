"""A forecast as people and programs read it."""

from __future__ import annotations

from t2ikit.memory.forecast import Forecast

COLUMNS = ("", "at the peak", "at most")
PRECISIONS = {"no": "fp32"}


def size(count: int) -> str:
    """Bytes in MiB, or GiB from one on."""
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


def summary(forecast: Forecast) -> str:
    """What was predicted, in a line."""
    precision = PRECISIONS.get(forecast.precision, forecast.precision)
    return (
        f"{forecast.recipe}: micro-batch {forecast.micro_batch} of batch {forecast.batch}, {precision}; the "
        f"peak is in the {forecast.moment}"
    )


def rows(forecast: Forecast) -> list[list[str]]:
    """What holds memory: at the peak, and at most in the step."""
    words = {"activations": "activations and temporaries"}
    kinds = [
        [words.get(kind, kind), size(count), size(forecast.at_most[kind])]
        for kind, count in forecast.at_peak.items()
    ]
    kinds += [[kind, size(count), size(count)] for kind, count in forecast.beside.items()]
    return [*kinds, ["total", size(forecast.total), size(forecast.total)]]
