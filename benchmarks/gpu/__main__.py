"""The command line of `benchmarks/gpu.sh`."""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from gpu.bench import Bench, Options
from gpu.checkouts import HERE, Checkout, find_versions
from gpu.results import Results, file_name
from gpu.table import write_table
from gpu.wheels import install

PARTS = {
    "core": "whole training commands: images/s, MFU, memory, share of time waiting for data",
    "startup": "seconds from command to grid, and of imports",
    "tests": "pytest -m gpu",
    "peers": "training steps beside MinImagen, imagen-pytorch, diffusers and gigagan-pytorch",
    "layers": "filter bank and GAN step beside gigagan-pytorch, by layer size",
    "sampling": "images/s of t2ikit sample",
    "memory": "t2ikit memory beside what a training takes",
}


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The command line's words as options."""
    parts = "\n".join(f"  {name:10s} {what}" for name, what in PARTS.items())
    parser = argparse.ArgumentParser(
        prog="benchmarks/gpu.sh",
        description=f"Measure t2ikit on a GPU. The parts:\n{parts}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help="what to measure, in this order; none: core")
    parser.add_argument("--budget", type=float, metavar="SECONDS", help="stop before so long has passed")
    parser.add_argument(
        "--device", choices=["cuda", "cpu"], default="cuda", help="cpu: toy sizes, no figures"
    )
    parser.add_argument(
        "--before", type=Path, metavar="CHECKOUT", help="another commit, taking turns with it"
    )
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="how often each figure is taken")
    parser.add_argument("--wheels", type=Path, metavar="DIR", help="packages to install for this measurement")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="default: benchmarks/results/gpu-DEVICE.json"
    )
    given = parser.parse_args(words)
    unknown = [name for name in given.parts if name not in PARTS]
    if unknown:
        parser.error(f"no part is called {', '.join(unknown)}; there are: {', '.join(PARTS)}")
    if given.before and not (given.before / "src" / "t2ikit").is_dir():
        parser.error(f"--before {given.before}: expected a checkout, which has src/t2ikit")
    return given


def out_file(given: argparse.Namespace, device_name: str, folder: Path) -> Path:
    """Where results go: toy sizes are kept out of the repository's results."""
    if given.out:
        return given.out
    return (folder if given.device == "cpu" else HERE / "benchmarks" / "results") / file_name(device_name)


def main(words: Sequence[str]) -> int:
    """Measure the parts asked for; 1 where something failed."""
    given = parse(words)
    folder = Path(tempfile.mkdtemp(prefix="t2ikit-gpu-"))
    packages = install(given.wheels, folder / "packages") if given.wheels else None
    places = {"this": HERE, **({"before": given.before.resolve()} if given.before else {})}
    checkouts = [Checkout(name, path, packages, folder / f"cache-{name}") for name, path in places.items()]
    versions = find_versions(checkouts, given.device)
    results = Results(out_file(given, versions["device"], folder), versions)
    options = Options(given.device, given.repeat, given.budget)
    bench = Bench(options, checkouts, results, folder)
    for part in given.parts or ["core"]:
        bench.begin(part)
        try:
            importlib.import_module(f"gpu.parts.{part}").measure(bench)
        except Exception as error:  # noqa: BLE001 - the other parts are still to be measured
            bench.failed(part, f"{type(error).__name__}: {error}")
    write_table(results.path)
    print(f"\n{results.path.with_suffix('.md').read_text()}\nresults: {results.path}")
    return int(bool(bench.failures))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
