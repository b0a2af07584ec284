"""The tests that need a GPU: `pytest -m gpu`."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

from gpu.bench import Bench
from gpu.checkouts import HERE
from gpu.commands import Failed, TooLong, run


def measure(bench: Bench) -> None:
    """Run them in one process; count what passed, and name what did not."""
    if not bench.fits("pytest -m gpu", 20.0):
        return
    report = bench.new_path("tests.xml")
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-n0", str(HERE / "tests" / "gpu")]
    command += ["--rootdir", str(HERE), "-c", str(HERE / "pyproject.toml"), f"--junitxml={report}"]
    failed = ""
    try:
        run(bench.checkouts[0], command, bench.new_path("tests"), limit=bench.left())
    except (Failed, TooLong) as error:
        failed = str(error)
    counts, names = read_report(report)
    bench.add("pytest -m gpu", counts)
    for name, why in names.items():
        bench.failed(name, why)
    if failed and not names:
        bench.failed("pytest -m gpu", failed)


def read_report(path: Path) -> tuple[dict[str, float | None], dict[str, str]]:
    """Numbers of tests by how they ended and seconds; tests that failed and why."""
    if not path.exists():
        return {"passed": None}, {}
    cases = list(ET.parse(path).getroot().iter("testcase"))
    bad = {
        case.get("name", ""): found for case in cases for found in case if found.tag in ("failure", "error")
    }
    skipped = sum(case.find("skipped") is not None for case in cases)
    figures: dict[str, float | None] = {
        "passed": float(len(cases) - len(bad) - skipped),
        "failed": float(len(bad)),
        "skipped": float(skipped),
        "seconds": sum(float(case.get("time", 0)) for case in cases),
    }
    return figures, {name: (found.get("message") or "")[:300] for name, found in bad.items()}
