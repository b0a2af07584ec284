"""Measure every figure of README.md and docs/ again.

    benchmarks/all_figures.sh --list
    benchmarks/all_figures.sh [--only long,guidance] [--out runs/figures] [--install]

Runs the parts that are not done yet, one after the other, and those that they need. Stop it and start it
again as you like: it goes on with the command that was stopped. A part that lacks something here is skipped,
and what it lacks is said. `--install` copies pictures, tables and results of the parts that are done over
those of this checkout (then `benchmarks/equal_minutes.py --table` writes its table into docs/numbers.md); the
numbers of the text are in OUT/printed and OUT/numbers. An output folder is of one commit. To skip nothing,
run it in an environment with t2ikit's extras and the packages that benchmarks/equal_minutes.py names.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from figures.parts import PARTS
from figures.runner import ROOT, Failed, Runner


def commit() -> str:
    """Of this checkout, with a mark where files differ from it."""
    words = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude", "*"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def of_one_commit(out: Path, now: str) -> str:
    """Record the commit of a new output folder; what is wrong with that of another."""
    file = out / "commit.txt"
    if not file.is_file():
        out.mkdir(parents=True, exist_ok=True)
        file.write_text(now + "\n")
    before = file.read_text().strip()
    return (
        ""
        if before == now
        else f"{out} holds figures of commit {before}, and this is {now}: name another --out"
    )


def listed(runner: Runner) -> str:
    """All parts: whether they are done, and what they show."""
    lines = []
    for part in runner.parts.values():
        done, lacks = runner.done(part), part.lacks()
        state = f"{done['seconds'] / 60:.1f} min" if done else f"needs {lacks}" if lacks else "to do"
        lines.append(f"{part.name}\t{state}\t{part.shows} ({', '.join(part.pages)})")
    return "\n".join(lines)


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="all_figures.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--list", action="store_true", help="only list the parts")
    parser.add_argument("--only", help="names of parts, with commas between them; default: all")
    parser.add_argument("--out", type=Path, default=Path("runs/figures"), help="default: runs/figures")
    parser.add_argument("--install", action="store_true", help="copy the files of done parts to the checkout")
    given = parser.parse_args(words)
    given.only = given.only.split(",") if given.only else list(PARTS)
    unknown = sorted(set(given.only) - set(PARTS))
    if unknown:
        parser.error(f"--only: {', '.join(unknown)}; there are: {', '.join(PARTS)}")
    return given


def main(words: Sequence[str] | None = None) -> int:
    """Measure; exit status 1 where a command failed."""
    given = parse(words)
    runner = Runner(given.out.resolve(), PARTS, commit())
    if given.list:
        print(listed(runner))
        return 0
    wrong = of_one_commit(runner.out, runner.commit)
    try:
        if wrong:
            raise Failed(wrong)
        runner.run(given.only)
    except Failed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if given.install:
        print("\n".join(runner.install()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
