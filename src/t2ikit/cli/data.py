"""`t2ikit data`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from t2ikit.cli.output import echo, print_command, print_result, print_rows
from t2ikit.utils.console import Verbosity, verbosity
from t2ikit.utils.progress import phase
from t2ikit.utils.quoting import shortened

if TYPE_CHECKING:
    from t2ikit.data.doctor.diagnosis import Diagnosis
    from t2ikit.data.doctor.findings import Example, Finding

PAGES = (".html", ".htm")
NAMED = 3
"""Images of a finding that are named."""
NOTE = 60
"""Characters of what is said of one."""


def command(
    spec: Annotated[str, typer.Argument(help="A dataset, as for `t2ikit train --data`.")],
    out: Annotated[
        Path, typer.Option(help="Image file of the contact sheet, or FILE.html: a report with images.")
    ] = Path("contact-sheet.png"),
    n: Annotated[int, typer.Option("-n", min=1, max=600, help="Images on the contact sheet.")] = 36,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="data.KEY=VALUE or text.KEY=VALUE; may be repeated.")
    ] = None,
    plugin: Annotated[list[str] | None, typer.Option(help="A plugin that provides the dataset.")] = None,
) -> None:
    """Examine a dataset: counts, duplicates, leakage and other problems, advice, and a contact sheet."""
    from t2ikit.data.doctor.diagnosis import diagnose
    from t2ikit.data.doctor.report import render
    from t2ikit.data.doctor.survey import sheet_of, shown
    from t2ikit.recipes.datasets import open_dataset, recipe_for
    from t2ikit.recipes.encoders import is_of_text, open_text_encoder
    from t2ikit.registry.registry import Registry
    from t2ikit.utils.files import check_image, check_report, save_image, write_report

    page = out.suffix.lower() in PAGES
    check_report(out) if page else check_image(out, "--out", "in .html for a report")
    registry = Registry.load(plugin or [])
    encoder = open_text_encoder(registry, [setting for setting in settings or [] if is_of_text(setting)])
    dataset = open_dataset(registry, spec, [one for one in settings or [] if not is_of_text(one)])
    with phase("looking at the data"):
        found = diagnose(dataset, spec, encoder, recipe_for(registry, spec), settings or [])
    with phase("drawing the report" if page else "drawing the contact sheet"):
        if page:
            write_report(render(found, n), out)
        else:
            save_image(sheet_of(shown(found.specimens, n)), out)
    if verbosity() > Verbosity.quiet:
        print_rows(["", spec], found.survey.rows)
    print_result([("report" if page else "contact sheet", out)])
    if verbosity() > Verbosity.quiet:
        _print(found)


def _print(found: Diagnosis) -> None:
    """What else was found, below the counts."""
    for histogram in found.histograms:
        echo(f"\n{histogram.title}")
        echo("\n".join(histogram.lines(min(72, shutil.get_terminal_size().columns), _mark())))
    for problem in found.survey.problems:
        echo(f"\nskipped: {problem}")
    for finding in found.findings:
        echo(f"\n{finding.kind}: {_told(finding)}")
        if finding.fix:
            echo(f"  fix: {finding.fix}")
    echo()
    print_rows(["to begin with", "value", "why"], found.advice.rows)
    print_command("\nall checks of a training, and how long it will take:", found.advice.words)


def _told(finding: Finding) -> str:
    """A finding in words, with the names of its first images."""
    names = [_named(example) for example in finding.examples[:NAMED]]
    more = f"; and {len(finding.examples) - NAMED:,} more" if len(finding.examples) > NAMED else ""
    return finding.sentence + (f": {'; '.join(names)}{more}" if names else "")


def _named(example: Example) -> str:
    names = " = ".join(item.name for item in example.images)
    return names + (f" ({shortened(example.note, NOTE)})" if example.note else "")


def _mark() -> str:
    """What bars are made of."""
    return "█" if "utf" in (sys.stdout.encoding or "").lower() else "#"
