"""What the commands have in common: `--quiet` and `--verbose`, help that fits the terminal, completion."""

from __future__ import annotations

import functools
import inspect
import platform
import re
import shutil
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from typer.core import TyperCommand, TyperGroup
from typer.models import OptionInfo, ParameterInfo

from t2ikit import __version__
from t2ikit.cli.completion import completion
from t2ikit.cli.examples import EXAMPLES
from t2ikit.cli.libraries import hide_bars
from t2ikit.errors import UserError, empty
from t2ikit.utils.console import SCREEN, Verbosity, detail, set_verbosity
from t2ikit.utils.devices import share_cores

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors and the result.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Also print decisions and timings.")]

METAVARS = {
    "batch": "N",
    "checkpoint": "STEP",
    "data": "SPEC",
    "dtype": "DTYPE",
    "ema": "LENGTH",
    "folder": "FOLDER",
    "format": "NAME",
    "guidance": "W",
    "host": "ADDRESS",
    "aspect": "W:H",
    "image": "FILE",
    "images": "FOLDER",
    "init": "RUN",
    "json": "FILE",
    "kind": "KIND",
    "mask": "FILE",
    "metrics": "NAME,NAME",
    "minutes": "M",
    "n": "N",
    "negative": "PROMPT",
    "name": "NAME",
    "out": "PATH",
    "plugin": "NAME|FILE.py",
    "port": "N",
    "prompt": "PROMPT",
    "prompts": "FILE",
    "push_to": "OWNER/NAME",
    "recipe": "NAME|FILE.toml",
    "resume": "RUN",
    "run": "RUN",
    "runs": "RUN",
    "sampler": "NAME",
    "seed": "N",
    "settings": "KEY=VALUE",
    "spec": "SPEC",
    "steps": "N",
    "strength": "S",
    "sweep": "KEY=A,B,...",
    "target": "PATH|NAME",
    "upscale": "RUN",
    "waiting": "N",
}
"""What stands for a value in help and usage, by the parameter's name; choices list themselves."""

NAMED = (
    "data",
    "folder",
    "host",
    "image",
    "images",
    "init",
    "json",
    "mask",
    "out",
    "plugin",
    "prompts",
    "recipe",
    "resume",
    "run",
    "runs",
    "spec",
    "target",
    "upscale",
)
"""Parameters that take a path or a name, which is never empty."""

A_RUN = "A run folder, an export, hf:OWNER/NAME or creatures."
"""Help of what stands for a run."""

NARROW = 60
"""Columns below which a description stands under its name."""


def choose_verbosity(quiet: bool, verbose: bool) -> None:
    """Follow `--quiet` and `--verbose`.

    Raises:
        UserError: both are given.
    """
    if quiet and verbose:
        raise UserError(
            "--quiet does not go with --verbose",
            expected="one of them, or neither",
            got="both",
            fix="leave one out",
        )
    if quiet:
        hide_bars()
    if quiet or verbose:
        set_verbosity(Verbosity.quiet if quiet else Verbosity.verbose)


def prepared(name: str, command: Callable[..., None], *, computes: bool) -> Callable[..., None]:
    """The command with `--quiet` and `--verbose`, and its options' placeholders and completions.

    Args:
        name: as it is typed.
        command: a function as typer takes it.
        computes: it loads PyTorch, which takes seconds: something turns meanwhile.
    """

    @functools.wraps(command)
    def run(*, quiet: bool, verbose: bool, **values: Any) -> None:
        choose_verbosity(quiet, verbose)
        began = time.monotonic()
        detail(f"t2ikit {__version__}, Python {platform.python_version()}, {platform.platform()}")
        try:
            if computes:
                from t2ikit.utils.progress import spin

                share_cores()
                spin()
            command(**values)
            detail(f"done in {time.monotonic() - began:.1f} s")
        finally:
            SCREEN.clear()

    signature = inspect.signature(command, eval_str=True)
    own = [_completed(name, parameter) for parameter in signature.parameters.values()]
    only = inspect.Parameter.KEYWORD_ONLY
    more = [inspect.Parameter(n, only, default=False, annotation=a) for n, a in _VERBOSITY.items()]
    run.__signature__ = signature.replace(parameters=[*own, *more])  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in [*own, *more]}
    return run


_VERBOSITY = {"quiet": Quiet, "verbose": Verbose}


def _completed(command: str, parameter: inspect.Parameter) -> inspect.Parameter:
    """The parameter with its placeholder and its completion, unless it has its own."""
    for info in get_args(parameter.annotation)[1:]:
        if isinstance(info, ParameterInfo):
            info.metavar = info.metavar or METAVARS.get(parameter.name)
            info.autocompletion = info.autocompletion or completion(command, parameter.name)
            if parameter.name in NAMED:
                info.parser = _named(info, get_args(parameter.annotation)[0], parameter.name)
    return parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)


def _named(info: ParameterInfo, annotation: Any, name: str) -> Callable[[Any], Any]:
    """What reads a path or a name: an empty one is none, though a path made of it is the current folder."""
    kind = Path if "Path" in str(annotation) else str
    what = f"--{name.replace('_', '-')}" if isinstance(info, OptionInfo) else METAVARS[name]

    def text(value: Any) -> Any:
        if not str(value).strip():
            raise empty(what)
        return kind(value)

    return text


class Help:
    """Help that fits the terminal, cuts nothing, and ends with examples."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Usage, what it does, arguments, options, commands, examples."""
        formatter.width = help_width()
        command = ctx.command
        usage = f"Usage: {ctx.command_path} "
        pieces = " ".join(command.collect_usage_pieces(ctx))
        _write_text(formatter, pieces, usage, " " * min(len(usage), 11))
        for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
            formatter.write("\n")
            _write_text(formatter, " ".join(paragraph.split()), "  ", "  ")
        _write_parameters(command, ctx, formatter)
        commands = getattr(command, "commands", {})
        if commands:
            with formatter.section("Commands"):
                _write_rows(formatter, [(n, one.get_short_help_str(1000)) for n, one in commands.items()])
        with formatter.section("Examples"):
            for example in EXAMPLES[" ".join(ctx.command_path.split()[1:])]:
                formatter.write(continued(example, formatter.width, "  ") + "\n")


class Command(Help, TyperCommand):
    """A command."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """`[OPTIONS] RUN [PROMPT]...`."""
        return ["[OPTIONS]", *(_argument(p) for p in self.params if p.param_type_name == "argument")]


class Group(Help, TyperGroup):
    """All commands."""


def help_width() -> int:
    """Columns that help takes: those of the terminal, but never so many that it is hard to read."""
    return max(30, min(shutil.get_terminal_size().columns, 100) - 1)


def _argument(parameter: Any) -> str:
    name = parameter.metavar or parameter.name.upper()
    many = "..." if parameter.nargs != 1 else ""
    return f"{name}{many}" if parameter.required else f"[{name}]{many}"


def _write_parameters(command: Any, ctx: Any, formatter: Any) -> None:
    for kind, title in (("argument", "Arguments"), ("option", "Options")):
        records = [
            (_argument(parameter) if kind == "argument" else record[0], record[1])
            for parameter in command.get_params(ctx)
            if parameter.param_type_name == kind and (record := parameter.get_help_record(ctx))
        ]
        if records:
            with formatter.section(title):
                _write_rows(formatter, records)


def _write_rows(formatter: Any, rows: Sequence[tuple[str, str]]) -> None:
    """Names and descriptions in two columns, or under each other where there is little room."""
    indent = " " * formatter.current_indent
    column = min(30, max(len(name) for name, _ in rows)) + 2
    if formatter.width < NARROW:
        column = 4
    inside = indent + " " * column
    for name, text in rows:
        lines = textwrap.wrap(
            text, formatter.width - len(inside), break_long_words=False, break_on_hyphens=False
        )
        if len(name) + 2 <= column:
            formatter.write(f"{indent}{name:<{column}}{lines[0] if lines else ''}".rstrip() + "\n")
            del lines[:1]
        else:
            formatter.write(f"{indent}{name}\n")
        formatter.write("".join(f"{inside}{line}\n" for line in lines))


def _write_text(formatter: Any, text: str, first: str, others: str) -> None:
    lines = textwrap.wrap(
        text,
        formatter.width,
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    )
    formatter.write("\n".join(lines) + "\n")


def continued(line: str, width: int, indent: str = "") -> str:
    """A line of a shell within `width` columns, where it must with a backslash before the break.

    It is broken where a word begins, but not between an option and its value, so that it can be copied as it
    stands.
    """
    lines: list[str] = []
    for word in _words(line):
        room = width - len(indent) - (4 if len(lines) > 1 else 0) - len(" \\")
        if lines and len(lines[-1]) + 1 + len(word) <= room:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return (" \\\n" + indent + "    ").join([indent + lines[0], *lines[1:]])


def _words(line: str) -> list[str]:
    """The words of a line as they are written: what is quoted whole, an option with its value."""
    words: list[str] = []
    for word in re.findall(r'"[^"]*"|\S+', line):
        if words and words[-1].startswith("-") and not word.startswith("-"):
            words[-1] += f" {word}"
        else:
            words.append(word)
    return words
