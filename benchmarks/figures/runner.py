"""Runs parts, one command after the other; what is done is not done again."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from figures.part import Part

ROOT = Path(__file__).resolve().parents[2]
Call = Callable[[list[str], dict[str, str], Path, Path], int]
"""Words, environment, folder, and the file that is added to: the exit status."""


class Failed(Exception):
    """A command did not end well."""


class Runner:
    """The parts in an output folder.

    Args:
        out: the folder: runs, `printed/` (what commands said), `done/` (a file for each finished part), and
            `figures/` (the files of the repository, at their paths).
        parts: all there are, by name, those that others need first.
        commit: of this checkout.
        call: runs a command.
    """

    def __init__(self, out: Path, parts: Mapping[str, Part], commit: str, call: Call | None = None) -> None:
        self.out, self.parts, self.commit, self.call = out, parts, commit, call or _call
        self.skipped: dict[str, str] = {}

    def run(self, names: Sequence[str]) -> None:
        """Run parts and those that they need.

        Raises:
            Failed: a command failed; the same call goes on with it.
        """
        for name in names:
            self.part(self.parts[name])

    def part(self, part: Part) -> bool:
        """Run a part unless it is done; whether it is done now."""
        if self.done(part) is not None:
            return True
        lacks = part.lacks() or self._unmet(part)
        if lacks:
            if part.name not in self.skipped:
                print(f"{part.name}: skipped, it needs {lacks}", flush=True)
            self.skipped[part.name] = lacks
            return False
        began = self._spent(part)
        for number, command in enumerate(part.commands):
            began = self._command(part, number, command, began)
        self._keep(part)
        self._write(part, {"commit": self.commit, "seconds": round(began, 1), "finished": True})
        print(f"{part.name}: {began / 60:.1f} minutes", flush=True)
        return True

    def done(self, part: Part) -> dict[str, Any] | None:
        """What is recorded of a finished part."""
        found = self._read(part)
        return found if found.get("finished") else None

    def _unmet(self, part: Part) -> str:
        unmet = [name for name in part.after if not self.part(self.parts[name])]
        return f"the part {', '.join(unmet)}" if unmet else ""

    def _command(self, part: Part, number: int, command: str, spent: float) -> float:
        """Run a command unless it is done; the seconds of the part so far."""
        if number < self._read(part).get("commands", 0):
            return spent
        environment, words = self.words(command)
        words = resumed(words, self.out)
        for folder in ("printed", "numbers"):
            (self.out / folder).mkdir(parents=True, exist_ok=True)
        printed = self.out / "printed" / f"{part.name}.txt"
        print(f"{part.name}: {command}", flush=True)
        with printed.open("a", encoding="utf-8") as file:
            file.write(f"$ {command}\n")
        started = time.monotonic()
        status = self.call(words, environment, self.out, printed)
        seconds = time.monotonic() - started
        if status:
            raise Failed(f"{part.name}: `{command}` ended with {status}: see {printed}")
        with printed.open("a", encoding="utf-8") as file:
            file.write(f"({seconds:.1f} s)\n")
        self._write(part, {"commit": self.commit, "seconds": spent + seconds, "commands": number + 1})
        return spent + seconds

    def words(self, command: str) -> tuple[dict[str, str], list[str]]:
        """A command's environment variables, and its words with the paths of this checkout."""
        given = shlex.split(os.path.expandvars(command))
        count = next(i for i, word in enumerate(given) if "=" not in word)
        environment = dict(word.split("=", 1) for word in given[:count])
        words = []
        for word in given[count:]:
            path = word.removeprefix("./")
            words.append(str(ROOT / path) if path.startswith(("benchmarks/", "examples/")) else word)
        programs = {"t2ikit": [sys.executable, "-m", "t2ikit"], "python": [sys.executable]}
        return environment, [*programs.get(words[0], [words[0]]), *words[1:]]

    def _keep(self, part: Part) -> None:
        """Copy the files of a part to where the repository has them, below `figures/`."""
        for place, pattern in part.files.items():
            found = sorted(self.out.glob(pattern))
            if not found:
                raise Failed(f"{part.name}: its commands left no {pattern} in {self.out}")
            target = self.out / "figures" / place
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(found[-1], target)

    def install(self) -> list[str]:
        """Copy what is in `figures/` over the checkout's files; which."""
        source = self.out / "figures"
        found = sorted(path.relative_to(source) for path in source.rglob("*") if path.is_file())
        for path in found:
            shutil.copyfile(source / path, ROOT / path)
        return [str(path) for path in found]

    def _spent(self, part: Part) -> float:
        return float(self._read(part).get("seconds", 0.0))

    def _stamp(self, part: Part) -> Path:
        return self.out / "done" / f"{part.name}.json"

    def _read(self, part: Part) -> dict[str, Any]:
        file = self._stamp(part)
        found: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
        return found

    def _write(self, part: Part, value: dict[str, Any]) -> None:
        file = self._stamp(part)
        file.parent.mkdir(parents=True, exist_ok=True)
        beside = file.with_suffix(".writing")
        beside.write_text(json.dumps(value) + "\n")
        beside.replace(file)


def resumed(words: list[str], folder: Path) -> list[str]:
    """`t2ikit train --out RUN` that was stopped goes on; without a checkpoint it starts anew."""
    if "--out" not in words:
        return words
    out = words[words.index("--out") + 1]
    if "sample" in words:  # which adds to a folder
        shutil.rmtree(folder / out, ignore_errors=True)
    if "train" not in words:
        return words
    if any((folder / out / "checkpoints").glob("step-*")):
        place = words.index("train")
        plugins = [word for i, word in enumerate(words) if "--plugin" in (word, words[i - 1]) and i > place]
        return [*words[: place + 1], "--resume", out, *plugins]
    shutil.rmtree(folder / out, ignore_errors=True)
    return words


def _call(words: list[str], environment: dict[str, str], folder: Path, printed: Path) -> int:
    """In a process; what it prints goes to the terminal too."""
    with printed.open("a", encoding="utf-8") as file:
        process = subprocess.Popen(
            words, cwd=folder, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            file.write(line)
        return process.wait()
