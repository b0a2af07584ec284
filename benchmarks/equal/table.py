"""The results as Markdown, and in a page of the docs."""

from __future__ import annotations

from typing import Any

BEGIN = "<!-- equal minutes: written by benchmarks/equal_minutes.py -->"
END = "<!-- end of equal minutes -->"
NONE = "Not measured with this version yet.\n"
ENOUGH = 20.0
"""Joint accuracy, per cent, below which a rival's is not worth reaching."""
Row = dict[str, Any]


def markdown(report: dict[str, Any] | None) -> str:
    """The table, what it shows, and where the settings come from; a sentence where there is none."""
    if report is None:
        return NONE
    rows = report["rows"]
    lines = [
        "| minutes | model | learning rate | steps | all four | colour | species | action | eyes | "
        "kernel distance | ms an image |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
        *(_line(row) for row in sorted(rows, key=lambda row: (row["minutes"], row["ours"], row["name"]))),
    ]
    left_out = [f"- {name} was left out: {why}." for name, why in report["left_out"].items()]
    words = [f"- {sentence}" for sentence in verdicts(rows)]
    sources = {row["name"]: row["documented"] for row in rows if row["documented"]}
    told = [f"- {name}: {source}." for name, source in sources.items()]
    return "\n".join([_heading(report), "", *lines, "", *words, *left_out, *told]) + "\n"


def _heading(report: dict[str, Any]) -> str:
    return (
        f"{report['n']} captions never drawn, 95 % intervals; {report['machine']}, "
        f"commit {report['commit']}, seed {report['seed']}, batch 16. "
        "Learning rate (of three) and guidance (of two) of the other packages "
        f"are the best on {report['chosen_on']} other captions. Their accuracy is measured with at most "
        f"{report['most_steps']} steps of their own samplers; the time is that of the documented steps."
    )


def _line(row: Row) -> str:
    joint = row["joint"]
    shares = " | ".join(f"{row[name]['value']:.1f}" for name in ("colour", "species", "action", "eyes"))
    rate = "" if row["ours"] else f"{row['rate']:g}"
    return (
        f"| {row['minutes']:g} | {row['name']} | {rate} | {row['steps']:,} | {joint['value']:.1f} "
        f"[{joint['low']:.1f}, {joint['high']:.1f}] | {shares} | {row['kd-reader']['value']:.2f} | "
        f"{1000 * row['seconds_an_image']:.1f} |"
    )


def verdicts(rows: list[Row]) -> list[str]:
    """For each time: whether t2ikit's best reaches the best rival in a quarter of it."""
    found = []
    for minutes in sorted({row["minutes"] for row in rows if not row["ours"]}):
        rival = _best([row for row in rows if not row["ours"] and row["minutes"] == minutes])
        mine = _best([row for row in rows if row["ours"] and row["minutes"] == minutes / 4])
        if rival is None or mine is None:
            continue
        theirs, own = rival["joint"]["value"], mine["joint"]["value"]
        said = f"After {minutes:g} minutes the best of the others, {rival['name']}, follows {theirs:.1f} %"
        short = f"{mine['name']} {own:.1f} % after {minutes / 4:g}"
        few = "" if theirs >= ENOUGH else f", less than {ENOUGH:g} %, so that nothing is to be reached"
        reached = "" if few else (", which reaches it" if own >= theirs else ", which does not reach it")
        found.append(f"{said}{few}; {short}{reached}.")
    return found


def _best(rows: list[Row]) -> Row | None:
    return max(rows, key=lambda row: row["joint"]["value"], default=None)


def with_table(page: str, text: str) -> str:
    """A page with the table between its marks.

    Raises:
        ValueError: the page does not have them.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page needs {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{text}\n{END}{after}"
