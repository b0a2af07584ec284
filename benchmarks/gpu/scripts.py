"""The benchmarks of the folder above, as commands that answer in JSON."""

from __future__ import annotations

import json
import sys
from typing import Any

from gpu.bench import Bench
from gpu.checkouts import HERE
from gpu.commands import Failed, TooLong, run


def answer(bench: Bench, name: str, script: str, *words: object, seconds: float) -> dict[str, Any] | None:
    """What a script writes with `--json`; None where it was left out or failed, which is said.

    Args:
        bench: the measurement.
        name: of what is left out.
        script: a file of benchmarks/.
        words: its options.
        seconds: about what it takes.
    """
    if not bench.fits(name, seconds):
        return None
    folder = bench.new_path(script)
    path = HERE / "benchmarks" / script
    options = ["--device", bench.options.device, "--json", "answer.json", *map(str, words)]
    try:
        run(bench.checkouts[0], [sys.executable, str(path), *options], folder, limit=bench.left())
    except (Failed, TooLong) as error:
        bench.failed(name, str(error))
        return None
    found: dict[str, Any] = json.loads((folder / "answer.json").read_text())
    return found
