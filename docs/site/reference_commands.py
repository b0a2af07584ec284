"""Every command, from the command line itself: what `--help` has, with examples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from t2ikit.cli import app
from t2ikit.cli.command import continued
from t2ikit.cli.examples import EXAMPLES
from tables import code, plain, table

INTRODUCTION = """\
# Commands

`t2ikit COMMAND --help` prints the same. `RUN` is a run folder, an export, `hf:OWNER/NAME`, or a model
that comes with t2ikit, such as `creatures`. The exit status is 0 on success, 2 for a mistake in what
was typed, and 1 for anything else."""
WIDTH = 100
"""Of the examples, in columns."""


def pages() -> dict[str, str]:
    """The one page."""
    command = typer.main.get_command(app)
    return {"reference/commands.md": "\n\n".join([INTRODUCTION, *_sections(command, "t2ikit")])}


def _sections(group: Any, path: str) -> Iterator[str]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _sections(command, f"{path} {name}")
        else:
            yield from _section(command, f"{path} {name}")


def _section(command: Any, path: str) -> Iterator[str]:
    yield f"## {path}"
    context = command.context_class(command, info_name=path)
    yield "\n\n".join(plain(" ".join(text.split())) for text in (command.help or "").split("\n\n"))
    yield f"```\n{path} {' '.join(command.collect_usage_pieces(context))}\n```"
    rows = [
        [
            f"`{parameter.metavar or record[0]}`"
            if parameter.param_type_name == "argument"
            else code(record[0]),
            plain(record[1]),
        ]
        for parameter in command.get_params(context)
        if (record := parameter.get_help_record(context))
    ]
    yield table(["argument or option", "what it does"], rows)
    examples = EXAMPLES[path.removeprefix("t2ikit ")]
    yield "```\n" + "\n".join(continued(example, WIDTH) for example in examples) + "\n```"
