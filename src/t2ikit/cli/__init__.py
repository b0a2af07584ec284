"""The command line: one file per command, no logic. Exit status: 0 success, 2 user error, 1 anything else."""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from t2ikit import __version__
from t2ikit.cli import (
    ablate,
    compare,
    data,
    demo,
    distil,
    evaluate,
    export,
    memory,
    options,
    plugin_check,
    plugin_new,
    plugins,
    recipes,
    runs,
    sample,
    train,
    watch,
)
from t2ikit.cli.command import Command, Group, Quiet, Verbose, choose_verbosity, prepared
from t2ikit.cli.libraries import quiet_libraries
from t2ikit.cli.output import print_error
from t2ikit.errors import UserError, command_line, notes
from t2ikit.utils.console import SCREEN, Verbosity, set_verbosity

app = typer.Typer(
    name="t2ikit",
    help="Train, sample and compare small text-to-image models.",
    no_args_is_help=True,
    rich_markup_mode=None,  # panels would cost a fifth of the time `--help` takes
    pretty_exceptions_enable=False,
    cls=Group,
)
for _module in (
    train,
    distil,
    runs,
    watch,
    sample,
    demo,
    evaluate,
    compare,
    ablate,
    export,
    data,
    memory,
    plugins,
    recipes,
    options,
):
    _name = _module.__name__.rpartition(".")[2]
    _computes = _module not in (runs, watch, plugins, recipes, options)
    app.command(_name, cls=Command)(prepared(_name, _module.command, computes=_computes))

_plugin = typer.Typer(no_args_is_help=True, rich_markup_mode=None, cls=Group)
app.add_typer(_plugin, name="plugin", help="Write the package of a plugin, or check one.")
for _name, _module, _computes in (("new", plugin_new, False), ("check", plugin_check, True)):
    _plugin.command(_name, cls=Command)(prepared(f"plugin {_name}", _module.command, computes=_computes))


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"t2ikit {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    choose_verbosity(quiet, verbose)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit status; `arguments` default to those of the process."""
    set_verbosity(Verbosity.normal)
    _print_anything()
    try:
        with quiet_libraries():
            return _run(arguments)
    finally:
        set_verbosity(Verbosity.normal)


def _print_anything() -> None:
    """Where output is not UTF-8, as in a pipe on Windows, what it lacks appears as its number."""
    out = sys.stdout
    if isinstance(out, io.TextIOWrapper) and out.errors == "strict" and "utf" not in out.encoding.lower():
        out.reconfigure(errors="backslashreplace")


def _run(arguments: Sequence[str] | None) -> int:
    try:
        with command_line():
            app(arguments, prog_name="t2ikit")
        sys.stdout.flush()
    except SystemExit as leaving:
        return _status(leaving.code)
    except UserError as error:
        print_error("\n".join([str(error), *notes(error)]))
        return 2
    except KeyboardInterrupt:
        return _interrupted()
    except BrokenPipeError:
        # Whoever read our output has closed it; keep the interpreter's last flush from failing again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # noqa: BLE001 - the outermost place: shown in full, then the agreed status
        SCREEN.clear()
        traceback.print_exc()
        if sys.version_info < (3, 11):  # which does not show them itself
            print(*notes(error), sep="\n", file=sys.stderr)
        return 1
    return 0


def _status(code: object) -> int:
    """Typer's status as ours: 2 for wrong usage; 130, with which it reports an interrupt, becomes 1."""
    if code == 130:
        return _interrupted()
    if code is None or isinstance(code, int):
        return code or 0
    print(code, file=sys.stderr)
    return 1


def _interrupted() -> int:
    print("interrupted", file=sys.stderr)
    return 1
