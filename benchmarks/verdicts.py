"""How often `t2ikit ablate` is right: ablations of a loss of tiny random gradients and of a harmful one.

    python benchmarks/verdicts.py [--out runs/verdicts] [--ablations 10] [--seeds 3] [--steps 200]
        [--plugin imagen] [-n 256] [--json FILE]

The loss is that of planted_loss.py. Each ablation has seeds of its own. What is there already, in --out or
as a row of --json, is not done again: stop it and start it again as you like.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

import t2ikit
from t2ikit.ablation.verdict import deciding, outcome

LOSS = Path(__file__).with_name("planted_loss.py")
EXPECTED = {"chance": "no difference", "negative": "harms"}


def ablation(number: int, options: argparse.Namespace) -> list[dict[str, object]]:
    """What one ablation says of each loss."""
    first = number * options.seeds
    found = t2ikit.ablate(
        LOSS,
        plugin=options.plugin,
        set={"losses.planted.kind": list(EXPECTED)},
        seeds=list(range(first, first + options.seeds)),
        steps=options.steps,
        n=options.n,
        out=options.out / f"{number:03d}",
        device="cpu",
    )
    if not found.finished:
        raise SystemExit("stopped and saved; the same command goes on")
    rows = []
    for result in found.results:
        row = deciding(result)
        assert row is not None
        difference = row.difference
        name = next(loss for loss in EXPECTED if loss in result.pair.variant.label)
        interval = [difference.mean, difference.low, difference.high]
        rows.append({"loss": name, "seeds": first, "verdict": outcome(result), "points": interval})
    return rows


def known_rows(file: Path | None, setup: dict[str, object]) -> list[dict[str, object]]:
    """The rows that a file has, which must be of ablations made alike."""
    if file is None or not file.is_file():
        return []
    kept = json.loads(file.read_text())
    if kept["setup"] != setup:
        raise SystemExit(f"{file} is of {kept['setup']}, not of {setup}: give another file")
    return list(kept["rows"])


def main() -> None:
    """Ablate, count, print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/verdicts"))
    parser.add_argument("--plugin", default="imagen")
    for name, value in {"ablations": 10, "seeds": 3, "steps": 200}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("-n", type=int, default=256)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    setup = {name: getattr(options, name) for name in ("plugin", "seeds", "steps", "n")}
    rows = known_rows(options.json, setup)
    done = {row["seeds"] for row in rows}
    for number in (one for one in range(options.ablations) if one * options.seeds not in done):
        rows += ablation(number, options)
        print(rows[-2:], flush=True)
        if options.json:
            options.json.write_text(json.dumps({"setup": setup, "rows": rows}, indent=2) + "\n")
    for name, right in EXPECTED.items():
        said = Counter(str(row["verdict"]) for row in rows if row["loss"] == name)
        print(f"{name}: {said[right]} of {said.total()} say {right!r}; {dict(said)}")


if __name__ == "__main__":
    main()
