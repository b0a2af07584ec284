"""Seconds from the shell to the answer of the commands that only list, and of what they stand on.

    python benchmarks/startup.py

Prints the median of `--repeats` calls of each, taking turns. A bare Python and the bare imports of the
command-line and settings libraries show how much of it is this library's own.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Annotated

import typer
from measuring import alternate

COMMANDS = {
    "python": ["-c", ""],
    "typer and pydantic": ["-c", "import typer; from pydantic import BaseModel, Field"],
    "t2ikit --help": ["-m", "t2ikit", "--help"],
    "t2ikit plugins": ["-m", "t2ikit", "plugins"],
    "t2ikit recipes": ["-m", "t2ikit", "recipes"],
    "t2ikit options train": ["-m", "t2ikit", "options", "train"],
}


def main(repeats: Annotated[int, typer.Option(help="Calls of each command.")] = 7) -> None:
    """Time the commands that only list."""

    def call(arguments: list[str]) -> None:
        subprocess.run([sys.executable, *arguments], capture_output=True, check=True)

    steps = {name: lambda a=arguments: call(a) for name, arguments in COMMANDS.items()}
    for name, seconds in alternate(steps, repeats, "cpu").items():
        print(f"{name:24s} {seconds:.2f} s")


if __name__ == "__main__":
    typer.run(main)
