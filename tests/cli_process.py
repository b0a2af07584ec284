"""`python -m t2ikit` in processes of their own, most of which need not import PyTorch first.

Importing takes seconds, and a hundred tests need commands: `cli_server.py` imports once and forks. Where
that could make a difference, a new Python is started.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from threading import Thread

from cli_server import set_up

RUN_TIME = {
    *("CI", "CLICOLOR", "CLICOLOR_FORCE", "COLORTERM", "COLUMNS", "FORCE_COLOR", "JPY_PARENT_PID"),
    *("JPY_SESSION_NAME", "LINES", "NO_COLOR", "TERM", "TTY_COMPATIBLE", "TTY_INTERACTIVE"),
    *("KILL_AT", "KILL_WHERE", "PYTEST_CURRENT_TEST", "T2IKIT_CACHE", "TORCHINDUCTOR_CACHE_DIR"),
    *("WAIT_FOR", "WANDB_MODE"),
}
"""Variables that nothing reads while it is imported; where another one differs, a new Python is started."""
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
"""That of most commands, before any test has changed it."""
QUIET = {"-q", "--quiet"}


def _read_by_imports(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name not in RUN_TIME}


class Server:
    """Forks commands, and knows which of them have ended."""

    def __init__(self, bars: bool) -> None:
        self.env = _read_by_imports(ENVIRONMENT)
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        script = Path(__file__).with_name("cli_server.py")
        self.process = subprocess.Popen(
            [sys.executable, str(script), str(theirs.fileno()), str(int(bars))],
            env=self.env,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        self.ended: dict[int, int] = {}
        atexit.register(self.close)

    def can_fork(self, env: Mapping[str, str]) -> bool:
        """Whether a command in this environment would import the same."""
        return _read_by_imports(env) == self.env

    def start(self, request: dict, streams: Sequence[int]) -> int:
        """Fork a process, whose id is returned."""
        socket.send_fds(self.control, [json.dumps(request).encode()], list(streams))
        while "started" not in (message := self._hear(300)):
            assert message, "the server of commands does not answer"
        return message["started"]

    def status(self, pid: int, seconds: float) -> int | None:
        """The exit status of a process, waiting for it; None: it has not ended."""
        until = time.monotonic() + seconds
        while pid not in self.ended and self._hear(max(0, until - time.monotonic())):
            pass
        return self.ended.get(pid)

    def _hear(self, seconds: float) -> dict:
        if not select.select([self.control], [], [], seconds)[0]:
            return {}
        said = self.control.recv(4096)
        assert said, "the server of commands has ended"
        message = json.loads(said)
        if "ended" in message:
            self.ended[message["ended"]] = message["status"]
        return message

    def close(self) -> None:
        self.control.close()
        self.process.wait()


class Forked:
    """A command that a server forked, with what tests use of `subprocess.Popen`."""

    def __init__(self, server: Server, request: dict, stdin, stdout, stderr) -> None:
        self.server, self.args = server, request["words"]
        given = [stdin, stdout, stderr]
        self.stdin = self.stdout = self.stderr = None
        null = os.open(os.devnull, os.O_RDWR)
        opened, streams = [null], [null if each in (None, subprocess.DEVNULL) else each for each in given]
        for place, name in ((1, "stdout"), (2, "stderr")):
            if given[place] == subprocess.PIPE:
                ours, streams[place] = os.pipe()
                opened.append(streams[place])
                setattr(self, name, os.fdopen(ours, encoding="utf-8"))
        self.pid = server.start(request, streams)
        for each in opened:
            os.close(each)

    @property
    def returncode(self) -> int | None:
        return self.server.ended.get(self.pid)

    def poll(self) -> int | None:
        return self.server.status(self.pid, 0)

    def wait(self, timeout: float) -> int:
        status = self.server.status(self.pid, timeout)
        if status is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float) -> tuple[str, str]:
        said: dict[str, str] = {}
        readers = [
            Thread(target=lambda name=name: said.update({name: getattr(self, name).read()}), daemon=True)
            for name in ("stdout", "stderr")
        ]
        for reader in readers:
            reader.start()
        self.wait(timeout)
        for reader in readers:
            reader.join(timeout)
        return said["stdout"], said["stderr"]


_servers: dict[bool, Server] = {}


def start_command(
    words: Sequence[object],
    *,
    cwd: Path | str | None = None,
    env: Mapping[str, str] | None = None,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.PIPE,
    stderr: int = subprocess.PIPE,
    terminal: bool = False,
    file_bytes: int | None = None,
    cold: bool = False,
) -> Forked | subprocess.Popen[str]:
    """Start `python -m t2ikit WORDS`, with one thread.

    Args:
        words: after `t2ikit`.
        cwd: working folder; None: that of this process.
        env: the environment; None: that of this process.
        stdin: `subprocess.DEVNULL` or a file descriptor, and so the others, which may be `subprocess.PIPE`.
        stdout: see `stdin`.
        stderr: see `stdin`.
        terminal: the three are a terminal, which is to be the command's own.
        file_bytes: no file can grow larger.
        cold: a new Python, which imports all that it needs.
    """
    given = {"OMP_NUM_THREADS": "1", **(os.environ if env is None else env)}
    request = {"words": [str(word) for word in words], "cwd": str(cwd or os.getcwd()), "env": given}
    limits = {"terminal": terminal, "file_bytes": file_bytes}
    server = None if cold else _server(given, terminal and QUIET.isdisjoint(request["words"]))
    if server is not None:
        return Forked(server, request | limits, stdin, stdout, stderr)
    return subprocess.Popen(
        [sys.executable, "-m", "t2ikit", *request["words"]],
        cwd=cwd,
        env=given,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        text=True,
        start_new_session=True,
        preexec_fn=partial(set_up, **limits),
    )


def _server(env: Mapping[str, str], seen: bool) -> Server | None:
    """What forks a command with this environment, if anything may; `seen`: a person would see bars."""
    if sys.platform != "linux":
        return None
    notebook = any(name.startswith("JPY_") for name in env)
    bars = seen and env.get("TERM") not in ("dumb", "unknown") and not notebook
    if bars not in _servers:
        _servers[bars] = Server(bars)
    return _servers[bars] if _servers[bars].can_fork(env) else None


def run_command(
    words: Sequence[object], *, timeout: float = 300, **options
) -> subprocess.CompletedProcess[str]:
    """Run `python -m t2ikit WORDS`, started as `start_command` does, to its end."""
    process = start_command(words, **options)
    try:
        out, error = process.communicate(timeout=timeout)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, out, error)
