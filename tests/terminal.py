"""Commands in a pseudo-terminal, and what a person would see there."""

from __future__ import annotations

import os
import re
import select
import struct
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

import pyte

from cli_process import Forked, start_command

if sys.platform != "win32":
    import fcntl
    import pty
    import termios

UNSET = {
    *("CI", "CLICOLOR", "COLORTERM", "COLUMNS", "FORCE_COLOR", "JPY_PARENT_PID", "JPY_SESSION_NAME", "LINES"),
    *("MPLBACKEND", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"),
}
WIDE = 2000
CTRL_C = b"\x03"


@dataclass(frozen=True)
class Shown:
    """What a command left on a terminal.

    Attributes:
        status: its exit status.
        raw: everything it wrote.
        screen: the lines of the screen at its end, without trailing spaces.
        lines: all lines, also those that were scrolled away, as they were written: not broken by the width.
        columns: of the terminal.
    """

    status: int
    raw: bytes
    screen: list[str]
    lines: list[str]
    columns: int

    @property
    def text(self) -> str:
        """All lines, for `in`."""
        return "\n".join(self.lines)

    @property
    def broken(self) -> list[str]:
        """Lines that were broken, though they could have been at a space; commands are whole."""
        long = [line for line in self.lines if len(line) > self.columns and len(line.split()) > 2]
        return [line for line in long if not re.match(r"(\w+: +)?t2ikit ", line)]


class Emulator:
    """A terminal without a window: feed it bytes, read its lines."""

    def __init__(self, rows: int, columns: int) -> None:
        self.screen = pyte.HistoryScreen(columns, rows, history=10_000, ratio=0.01)
        self.stream = pyte.ByteStream(self.screen)

    def feed(self, data: bytes) -> None:
        self.stream.feed(data)

    def visible(self) -> list[str]:
        return [line.rstrip() for line in self.screen.display]

    def everything(self) -> list[str]:
        columns = range(self.screen.columns)
        above = ["".join(line[at].data for at in columns).rstrip() for line in self.screen.history.top]
        lines = above + self.visible()
        while lines and not lines[-1]:
            lines.pop()
        return lines


def shown(status: int, raw: bytes, rows: int, columns: int) -> Shown:
    """What is seen of bytes that were written to a terminal of this size."""
    real, wide = Emulator(rows, columns), Emulator(rows, WIDE)
    real.feed(raw)
    wide.feed(raw)
    return Shown(status, raw, real.visible(), wide.everything(), columns)


def run_in_terminal(
    words: Sequence[object],
    cwd: Path,
    *,
    rows: int = 24,
    columns: int = 80,
    env: dict[str, str] | None = None,
    press: Sequence[tuple[str, bytes]] = (),
    timeout: float = 180,
    cold: bool = False,
) -> Shown:
    """Run `python -m t2ikit WORDS` in a pseudo-terminal of its own, whose keys can be pressed.

    Args:
        words: after `t2ikit`.
        cwd: working folder.
        env: variables on top of those of this process, without those that concern terminals.
        press: pairs of a pattern and of keys: when it is found on the screen, the keys are pressed, in order.
        timeout: seconds after which the command is killed and the test fails.
        cold: nothing is imported before.
    """
    inherited = {name: value for name, value in os.environ.items() if name not in UNSET}
    settings = {"TERM": "xterm-256color", "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline", **(env or {})}
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    streams = {"stdin": slave, "stdout": slave, "stderr": slave, "terminal": True}
    process = start_command(words, cwd=cwd, env={**inherited, **settings}, cold=cold, **streams)
    os.close(slave)
    try:
        raw = _converse(process, master, Emulator(rows, columns), list(press), time.monotonic() + timeout)
        return shown(process.wait(timeout=30), raw, rows, columns)
    finally:
        process.kill()
        os.close(master)


def _converse(
    process: Forked | Popen[str],
    master: int,
    emulator: Emulator,
    press: list[tuple[str, bytes]],
    deadline: float,
) -> bytes:
    """Everything the process writes until it ends, pressing keys on the way."""
    raw = b""
    while True:
        assert time.monotonic() < deadline, f"this takes too long:\n{raw.decode(errors='replace')[-3000:]}"
        ready, _, _ = select.select([master], [], [], 0.5)
        if not ready:
            if process.poll() is not None:
                break
            continue
        try:
            data = os.read(master, 65536)
        except OSError:  # nobody holds the other end any more
            break
        if not data:
            break
        raw += data
        emulator.feed(data)
        if press and re.search(press[0][0], "\n".join(emulator.visible())):
            os.write(master, press.pop(0)[1])
    assert not press, f"never seen: {press[0][0]}\n{raw.decode(errors='replace')[-3000:]}"
    return raw
