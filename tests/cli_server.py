"""A process that has imported all that t2ikit's commands import, and forks one for each of them.

`cli_process.py` starts it. It computes nothing and has no second thread, so that what is forked is as good as
a new Python that has imported the same: it has its own session, folder, environment, streams and exit status.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import sys
import threading
import warnings

PACKAGES = ("t2ikit", "t2ikit_imagen", "t2ikit_gigagan")
LARGEST = 1 << 17
"""Bytes of a request: the words and the environment of a command."""


def import_all(bars: bool) -> None:
    """Import every module of t2ikit and of its plugins, under the variables that commands set before.

    Args:
        bars: libraries may draw bars, as in a command that has a terminal.
    """
    from t2ikit.cli.libraries import ERRORS_ONLY, NO_BARS

    before, shown = dict(os.environ), warnings.showwarning
    os.environ.update(ERRORS_ONLY if bars else ERRORS_ONLY | NO_BARS)
    warnings.showwarning = lambda *_, **__: None
    for name in PACKAGES:
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            if not module.name.endswith(".__main__"):
                importlib.import_module(module.name)
    warnings.showwarning = shown
    os.environ.clear()
    os.environ.update(before)


def serve(control: socket.socket) -> tuple[dict, list[int]]:
    """Fork a process for each request; returns in the forked one, with the request and its streams.

    Sends {"started": pid} for each request, and {"ended": pid, "status": ...} for each process that ends; the
    status is minus the signal where one ended it, as in `subprocess`. Ends with the other end of `control`.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(writer.fileno())
    while True:
        ready, _, _ = select.select([control, reader], [], [])
        if reader in ready:
            reader.recv(4096)
            _tell_ended(control)
        if control not in ready:
            continue
        message, streams, _, _ = socket.recv_fds(control, LARGEST, 3)
        if not message:
            sys.exit()
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            for each in (control, reader, writer):
                each.close()
            return json.loads(message), streams
        for stream in streams:
            os.close(stream)
        control.send(json.dumps({"started": pid}).encode())


def _tell_ended(control: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        control.send(json.dumps({"ended": pid, "status": os.waitstatus_to_exitcode(status)}).encode())


def set_up(terminal: bool, file_bytes: int | None) -> None:
    """In a process that is to become a command: its terminal, its limit, and Ctrl-C.

    A shell tells its background jobs to ignore SIGINT, and so all that they start.

    Args:
        terminal: standard input is a terminal, which is to be its own, so that Ctrl-C becomes SIGINT.
        file_bytes: no file can grow larger, as on a disk that is full.
    """
    if terminal:
        import fcntl
        import termios

        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    if file_bytes is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def become(request: dict, streams: list[int]) -> None:
    """Make this process what `python -m t2ikit WORDS` would be before it imports anything."""
    os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    set_up(request["terminal"], request["file_bytes"])
    signal.signal(signal.SIGINT, signal.default_int_handler)  # as Python does when it starts
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    sys.stdout.reconfigure(line_buffering=os.isatty(1))
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.argv[1:] = request["words"]
    sys.path[0] = request["cwd"]
    sys.modules["numpy"].random.seed()  # or all would draw the same numbers; `random` sees to it itself


def main() -> None:
    """`python cli_server.py SOCKET BARS`: serve, then be the command that is asked for."""
    control = socket.socket(fileno=int(sys.argv[1]))
    import_all(bars=bool(int(sys.argv[2])))
    gc.collect()
    gc.freeze()
    assert threading.active_count() == 1
    assert len(os.listdir("/proc/self/task")) == 1, "what is forked would lack a thread"
    become(*serve(control))
    runpy.run_module("t2ikit", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
