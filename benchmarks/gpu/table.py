"""Tables of `benchmarks/results/gpu-*.json`: a .md file beside each, and those of docs/gpu.md.

    python benchmarks/gpu/table.py [--check]

`--check` changes nothing; exit status 1 where docs/gpu.md or a .md file is not what the JSON files say.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS, PAGE = ROOT / "benchmarks" / "results", ROOT / "docs" / "gpu.md"
BEGIN, END = "<!-- figures: written by benchmarks/gpu/table.py -->", "<!-- end of figures -->"
NONE = "No GPU has been measured with this version yet.\n"
HEADINGS = {
    "images_per_second": "images/s",
    "mfu": "MFU",
    "data_wait": "waiting for data",
    "memory_mb": "memory, MiB",
    "lines": "log lines",
    "first_line_s": "to step 10, s",
    "grid_s": "to the grid, s",
    "command_s": "command, s",
    "first_16": "first 16, images/s",
    "first_64": "first 64, images/s",
    "64_at_once": "64 at once, images/s",
    "predicted_mib": "predicted, MiB",
    "allocated_mib": "allocated, MiB",
    "reserved_mib": "reserved, MiB",
    "context_mib": "context, MiB",
    "imports_s": "imports, s",
    "torch_s": "of these PyTorch, s",
    "imports_over_torch": "imports / PyTorch's",
    "step_ms": "step, ms",
    "added_mib": "added memory, MiB",
    "ours_ms": "ours, ms",
    "theirs_ms": "theirs, ms",
    "ours_mib": "ours, MiB",
    "theirs_mib": "theirs, MiB",
    "time_ratio": "time, ours / theirs",
    "memory_ratio": "memory, ours / theirs",
}
SHARES = ("mfu", "data_wait")


def shown(figure: str, values: list[float]) -> str:
    """A figure's median, and its range where it was taken more than once."""

    def one(value: float) -> str:
        if figure in SHARES:
            return f"{100 * value:.1f} %"
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"

    middle = one(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} [{one(min(values))}, {one(max(values))}]"


def rows_of(part: dict[str, Any]) -> list[list[str]]:
    """A part's table: headings, then a row each."""
    rows = part["rows"]
    figures = list(dict.fromkeys(key for row in rows for key in row["figures"]))
    several = len({row["checkout"] for row in rows}) > 1
    noted = any(row["note"] for row in rows)
    table = [["", *["commit"] * several, *(HEADINGS.get(key, key.replace("_", " ")) for key in figures)]]
    table[0] += ["note"] * noted
    for row in rows:
        values = [shown(key, row["figures"][key]) if key in row["figures"] else "" for key in figures]
        commit = [str(part["measured_with"].get(row["checkout"], {}).get("commit"))] * several
        table.append([row["name"], *commit, *values, *[row["note"]] * noted])
    return table


def described(versions: dict[str, Any]) -> str:
    """What a part was measured with, in a sentence."""
    commit = versions["this"]["commit"] or "no commit"
    changed = ", with changes" if versions["this"]["dirty"] else ""
    words = [f"PyTorch {versions['torch']}"]
    words += [f"driver {versions['driver']}"] if versions.get("driver") else []
    toy = " Toy sizes on a CPU: not figures." if versions["toy"] else ""
    return f"{versions['device']}, {', '.join(words)}, commit `{commit}`{changed}, {versions['date']}.{toy}"


def markdown(results: dict[str, Any]) -> str:
    """All parts of a device."""
    blocks = []
    for name, part in results["parts"].items():
        lines = [f"### {name}", "", described(part["measured_with"]), ""]
        if part["rows"]:
            first, *rest = rows_of(part)
            rule = ["---"] * len(first)
            lines += ["| " + " | ".join(row) + " |" for row in (first, rule, *rest)] + [""]
        lines += [f"- {one['name']}: {one['why']}" for one in part["left_out"]]
        blocks.append("\n".join(lines).rstrip() + "\n")
    return "\n".join(blocks)


def write_table(path: Path) -> None:
    """Write the .md file beside a JSON file."""
    path.with_suffix(".md").write_text(markdown(json.loads(path.read_text())))


def figures(folder: Path) -> dict[Path, str]:
    """The tables of every device that was measured."""
    return {path: markdown(json.loads(path.read_text())) for path in sorted(folder.glob("gpu-*.json"))}


def with_figures(page: str, tables: list[str]) -> str:
    """A page with these tables between its marks."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{chr(10).join(tables) or NONE}\n{END}{rest.partition(END)[2]}"


def main() -> int:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="say what differs, and change nothing")
    check = parser.parse_args().check
    tables = figures(RESULTS)
    expected = {path.with_suffix(".md"): text for path, text in tables.items()}
    expected[PAGE] = with_figures(PAGE.read_text(), list(tables.values()))
    unlike = [path for path, text in expected.items() if not path.exists() or path.read_text() != text]
    for path in unlike:
        print(f"{path.relative_to(ROOT)} {'differs' if check else 'written'}")
        if not check:
            path.write_text(expected[path])
    return int(check and bool(unlike))


if __name__ == "__main__":
    sys.exit(main())
