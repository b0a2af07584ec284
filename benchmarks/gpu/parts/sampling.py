"""Images a second of `t2ikit sample`, of the default recipes."""

from __future__ import annotations

import re

from gpu.bench import Bench
from gpu.cases import CORE, Case
from gpu.checkouts import Checkout
from gpu.commands import Failed, TooLong, run, words_of
from gpu.parts.core import measure_case

RECIPES = ("imagen/default", "gigagan/default")
SAMPLING = re.compile(r"sampling: \d+ in ([\d.]+) s")
CHUNK = 64
"""Images that the command samples at once."""


def measure(bench: Bench) -> None:
    """Each recipe's images/s: of a command's first 16 and 64 images, and of 64 at once when warm."""
    cases = [
        case for case in CORE if case.recipe in RECIPES and (not bench.options.toy or case.toy is not None)
    ]
    for checkout in bench.turns():
        for case in cases:
            try:
                _measure(bench, case, checkout)
            except (Failed, TooLong) as error:
                bench.failed(f"{case.recipe} ({checkout.name})", str(error))


def _measure(bench: Bench, case: Case, checkout: Checkout) -> None:
    if not bench.fits(f"{case.recipe} ({checkout.name})", 10.0 if bench.options.toy else 60.0):
        return
    there = bench.runs.get((checkout.name, case.recipe))
    run_folder = there or measure_case(bench, case, checkout, bench.folder)
    if run_folder is None:
        return
    counts = (2,) if bench.options.toy else (16, CHUNK, 9 * CHUNK)
    seconds = {count: sampled(bench, checkout, str(run_folder), count) for count in counts}
    figures: dict[str, float | None] = {f"first_{count}": count / seconds[count] for count in counts[:2]}
    if counts[-1] > CHUNK and seconds[counts[-1]] > seconds[CHUNK]:
        figures["64_at_once"] = (counts[-1] - CHUNK) / (seconds[counts[-1]] - seconds[CHUNK])
    bench.add(f"sample {case.recipe}", figures, checkout.name)


def sampled(bench: Bench, checkout: Checkout, run_folder: str, count: int) -> float:
    """Seconds that a command says its sampling took; of the whole command where it does not say."""
    words = ("sample", run_folder, "a red cat", "-n", count, "--device", bench.options.device)
    out = bench.new_path("sampled")
    limit = bench.left()
    try:
        _, printed = run(checkout, words_of(*words, "--out", out / "a", "-v"), out, limit=limit)
        said = SAMPLING.search(printed)
        return max(0.05, float(said[1])) if said else float("nan")
    except Failed:
        return run(checkout, words_of(*words, "--out", out / "b"), out, limit=limit)[0]
