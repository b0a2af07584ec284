"""How long training on a folder of a million files takes to start, and how much more memory than ten files.

    python benchmarks/million_files.py [--files 1000000] [--json FILE]

Makes the folder in a temporary one: hard links to 1-px PNGs, whose captions come from their names. Each
training runs in a process of its own up to its first step. Prints JSON with seconds, seconds of the
processor, and peak memory in MB.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from t2ikit.utils.files import write_json

WORDS = ("red", "green", "blue", "small", "large"), ("dragon", "cat", "bird", "ship")
LINKS = 30_000
"""That one file gets; some file systems allow no more than 65,000."""
TRAIN = """
import json, resource, sys, time
started = time.perf_counter()
import t2ikit

class First:
    def step_end(self, run, step, scalars):
        self.seconds = self.seconds if hasattr(self, "seconds") else time.perf_counter() - started

first = First()
settings = {"train.steps": 1, "train.batch": 4, "train.samples": 1, "train.log_every": 1, "data.size": 16,
            "data.captions": "file_name", "generator.channels": [16, 16], "generator.head_width": 16,
            "generator.attention": [False, True], "sampler.steps": 1}
t2ikit.train("imagen", data=sys.argv[1], out=sys.argv[2], set=settings, device="cpu", callbacks=[first],
             progress=False)
print(json.dumps({"seconds": first.seconds, "cpu_seconds": time.process_time(),
                  "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""


def make(root: Path, count: int) -> None:
    """A folder of `count` images."""
    root.mkdir()
    source = ""
    for number in range(count):
        words = "_".join(kind[number % len(kind)] for kind in WORDS)
        path = f"{root}/{words}-{number:07}.png"
        if number % LINKS == 0:
            Image.new("RGB", (1, 1), (200, 30, 30)).save(path)
            source = path
        else:
            os.link(source, path)


def measure(folder: Path, out: Path) -> dict[str, float]:
    """A training's seconds until its first step is done, and its memory."""
    command = [sys.executable, "-c", TRAIN, str(folder), str(out)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    count = options.files
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        began = time.perf_counter()
        make(root / "many", count)
        make(root / "ten", 10)
        made = time.perf_counter() - began
        few = measure(root / "ten", root / "run-ten")
        many = measure(root / "many", root / "run-many")
    more = {name: many[name] - few[name] for name in few}
    table = {"files": count, "made_seconds": made, "ten": few, "many": many, "more": more}
    print(json.dumps(table, indent=1))
    if options.json:
        write_json(options.json, table)


if __name__ == "__main__":
    main()
