"""Seconds from the command to the grid of the default recipe, and those of imports."""

from __future__ import annotations

import re
from dataclasses import replace

from gpu.bench import Bench
from gpu.cases import CORE, QUIET
from gpu.checkouts import Checkout
from gpu.commands import Failed, TooLong, run, words_of
from gpu.parts.core import measure_case

IMPORT = re.compile(r"^import time:\s+(\d+) \|\s+(\d+) \| (.*)$", re.MULTILINE)
"""A line of `python -X importtime`: microseconds of a module alone, with what it imports, indented name."""
CASE = CORE[0]
STEPS = ("train.steps=20", *QUIET)


def measure(bench: Bench) -> None:
    """The default recipe's whole command, without what an earlier one leaves in the cache and with it."""
    cases = [replace(CASE, name=f"imagen/default, {kind}") for kind in ("nothing cached", "cached")]
    for chosen in bench.turns():
        checkout = replace(chosen, cache=bench.new_path("cache"))
        for case in cases[:1] if bench.options.toy else cases:
            measure_case(bench, case, checkout, bench.folder)
        if bench.fits(f"imports ({checkout.name})", 25.0):
            try:
                bench.add("imports", imports(bench, checkout), checkout.name)
            except (Failed, TooLong) as error:
                bench.failed(f"imports ({checkout.name})", str(error))


def imports(bench: Bench, checkout: Checkout) -> dict[str, float | None]:
    """Seconds of all imports that a training makes, of PyTorch's among them, and the ratio."""
    words = CASE.words(bench.options.device, bench.folder, STEPS)
    python, *command = words_of("train", *words, "--out", "run")
    folder = bench.new_path("imports")
    _, printed = run(checkout, [python, "-X", "importtime", *command], folder, limit=bench.left())
    return seconds_of(printed)


def seconds_of(printed: str) -> dict[str, float | None]:
    """The same from what `python -X importtime` printed."""
    lines = IMPORT.findall(printed)
    every = sum(int(alone) for alone, _, _ in lines) / 1e6
    torch = next((int(all_) / 1e6 for _, all_, name in lines if name.strip() == "torch"), None)
    return {"imports_s": every, "torch_s": torch, "imports_over_torch": every / torch if torch else None}
