"""`t2ikit watch` over HTTP: what it answers, what it refuses, and runs that change meanwhile."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import socket
import threading
import time

import pytest
from filelock import FileLock
from run_folders import checkpoint, line, make_run, rows

from t2ikit import UserError
from t2ikit.cli import main
from t2ikit.runs.files import LOCK
from t2ikit.runs.log import cut_after
from t2ikit.utils.serving import ports
from t2ikit.utils.serving.hosts import is_expected
from t2ikit.watching import server as watch_server
from t2ikit.watching.answers import FILES, PAGE
from t2ikit.watching.server import WatchServer, start_server
from t2ikit.watching.watched import WatchedRun, WatchedRuns


class Client:
    """Asks a server that runs in this process."""

    def __init__(self, server: WatchServer) -> None:
        self.port = server.server_port

    def ask(self, target: str, method: str = "GET", **headers: str):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request(method, target, headers=headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer, content

    def json(self, target: str):
        answer, content = self.ask(target)
        assert answer.status == 200
        return json.loads(content)


@pytest.fixture
def serve():
    servers = []

    def begin(*runs) -> Client:
        server = start_server(WatchedRuns(runs), "127.0.0.1", 0)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return Client(server)

    yield begin
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_run_that_grows_is_fetched_in_parts(tmp_path, serve):
    run = make_run(tmp_path / "run", rows([1, 2, 3]), grids=[2])
    client = serve(run)
    (state,) = client.json("/state")["runs"]
    assert (state["label"], state["state"], state["steps"], state["rows"]) == ("run", "stopped", 100, 3)
    assert [step for step, _ in state["grids"]] == [2]
    whole = client.json("/log/0?generation=-1&row=0")
    assert (whole["from"], whole["rows"]) == (0, 3)
    assert whole["series"]["loss/denoise"]["step"] == [1, 2, 3]
    with (run / "log.jsonl").open("a") as file:
        file.write(line(4, **{"loss/denoise": float("nan"), "validation/denoise": 0.5}) + '{"step": 5, "lo')
    later = client.json(f"/log/0?generation={whole['generation']}&row=3")
    assert (later["from"], later["rows"]) == (3, 4)
    assert later["series"]["loss/denoise"] == {"each": 1, "lost": 1, "step": [4], "mean": [None]}
    assert later["series"]["validation/denoise"]["mean"] == [0.5]


def test_a_log_that_was_cut_is_given_whole(tmp_path, serve):
    run = make_run(tmp_path / "run", rows(range(1, 30)))
    client = serve(run)
    first = client.json("/log/0?generation=0&row=0")
    cut_after(run / "log.jsonl", 10)
    again = client.json(f"/log/0?generation={first['generation']}&row={first['rows']}")
    assert again["generation"] != first["generation"]
    assert (again["from"], again["rows"]) == (0, 10)
    assert client.json(f"/log/0?generation={again['generation']}&row=9999")["from"] == 0


def test_the_state_of_runs(tmp_path, serve):
    names = ("a-running", "b-stopped", "c-done", "d-damaged")
    runs = {name: make_run(tmp_path / name, rows([50, 60])) for name in names}
    checkpoint(runs["b-stopped"], 50)
    checkpoint(runs["c-done"], 100)
    (runs["d-damaged"] / "run.json").write_text("{")
    client = serve(tmp_path)
    with FileLock(runs["a-running"] / LOCK):
        found = client.json("/state")["runs"]
    assert [(one["label"], one["state"], one["step"]) for one in found[:3]] == [
        ("a-running", "running", 60),
        ("b-stopped", "stopped", 50),
        ("c-done", "done", 100),
    ]
    assert found[3]["state"] == "damaged"
    assert "run.json" in found[3]["problem"]
    assert client.json("/state")["runs"][0]["state"] == "stopped"  # its process ended


def test_grids_and_their_versions(tmp_path, serve):
    run = make_run(tmp_path / "run", grids=[5, 10])
    client = serve(run)
    (state,) = client.json("/state")["runs"]
    answer, content = client.ask("/grid/0/10.png?v=1")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "image/png")
    assert content == (run / "samples" / "step-00000010.png").read_bytes()
    assert "immutable" in answer.headers["Cache-Control"]
    os.utime(run / "samples" / "step-00000010.png", (1, 1))  # sampled again
    assert client.json("/state")["runs"][0]["grids"][0] == state["grids"][0]
    assert client.json("/state")["runs"][0]["grids"][1] != state["grids"][1]
    assert client.ask("/grid/0/11.png")[0].status == 404


@pytest.mark.parametrize(
    "target",
    [
        "/run.json",
        "/samples/",
        "/grid/0/",
        "/grid/1/5.png",
        "/grid/-1/5.png",
        "/grid/0/../../secret.png",
        "/grid/0/%2e%2e%2fsecret.png",
        "/grid/0/..%5c..%5csecret.png",
        "/grid/0/٥.png",
        "/grid/0/5.png%00",
        "/grid/0/7.png",
        "/log/1",
        "/log/0/../../etc/passwd",
        "/../../../../etc/passwd",
        "//etc/passwd",
        "/watch.py",
        "/index.html",
        "/page/",
        "/[",
        "http://[/",
    ],
)
def test_nothing_else_is_served(tmp_path, serve, target):
    run = make_run(tmp_path / "run", grids=[5])
    (tmp_path / "secret.png").write_bytes(b"secret")
    (run / "samples" / "step-00000007.png").symlink_to(tmp_path / "secret.png")
    client = serve(run)
    with socket.create_connection(("127.0.0.1", client.port), timeout=10) as raw:  # as it is, not tidied
        raw.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: raw.recv(4096), b""))
    assert answer.startswith((b"HTTP/1.1 404", b"HTTP/1.1 400"))
    assert b"secret" not in answer


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_can_be_written(tmp_path, serve, method):
    answer, _ = serve(make_run(tmp_path / "run")).ask("/state", method)
    assert answer.status == 501
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_every_answer_forbids_other_origins(tmp_path, serve):
    client = serve(make_run(tmp_path / "run"))
    for target in (*FILES, "/state", "/log/0", "/nothing"):
        answer, content = client.ask(target)
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "Access-Control-Allow-Origin" not in answer.headers
        head, nothing = client.ask(target, "HEAD")
        assert (nothing, head.headers["Content-Length"]) == (b"", str(len(content)))


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "8.8.8.8", ""])
def test_a_name_that_was_pointed_here_is_refused(tmp_path, serve, host):
    client = serve(make_run(tmp_path / "run", rows([1])))
    answer, content = client.ask("/state", Host=host)
    assert answer.status == 421
    assert content == watch_server.FOREIGN.content


@pytest.mark.parametrize(
    ("host", "bound", "expected"),
    [
        ("localhost", "127.0.0.1", True),
        ("LOCALHOST.:9", "127.0.0.1", True),
        ("127.0.0.1:8421", "127.0.0.1", True),
        ("[::1]:8421", "::1", True),
        ("192.168.1.2", "127.0.0.1", False),
        ("192.168.1.2:8421", "0.0.0.0", True),
        ("[fe80::1]", "::", True),
        ("evil.example", "0.0.0.0", False),
        (socket.gethostname(), "0.0.0.0", True),
        ("box.lan:80", "box.lan", True),
        ("user@localhost", "127.0.0.1", False),
        ("localhost:80:80", "127.0.0.1", False),
        (None, "127.0.0.1", False),
    ],
)
def test_which_hosts_are_expected(host, bound, expected):
    assert is_expected(host, bound) is expected


def test_the_page_loads_nothing_from_elsewhere_and_writes_no_html():
    served = {name for name, _ in FILES.values()}
    assert served == {path.name for path in PAGE.iterdir()}
    for name in served:
        text = (PAGE / name).read_text(encoding="utf-8")
        addresses = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+[\w/.]*", text))
        assert addresses <= {"http://www.w3.org/2000/svg"}, name
        for unsafe in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", " style="):
            assert unsafe not in text, name


def test_ten_thousand_rows_and_two_hundred_grids_are_answered_at_once(tmp_path, serve):
    run = make_run(tmp_path / "run")
    keys = ("loss/a", "lr/g", "grad_norm/g", "images_per_second", "memory_mb", "data_wait")
    with (run / "log.jsonl").open("w") as file:
        file.writelines(line(step, **dict.fromkeys(keys, 1 / step)) for step in range(1, 10_001))
    for step in range(1, 201):
        (run / "samples" / f"step-{step:08d}.png").touch()
    client = serve(run)
    began = time.perf_counter()
    (state,) = client.json("/state")["runs"]
    _, content = client.ask("/log/0?generation=-1&row=0")
    assert time.perf_counter() - began < 5  # a tenth of it where nothing else runs
    assert (state["rows"], len(state["grids"])) == (10_000, 200)
    assert len(content) < 400_000
    assert all(len(one["step"]) <= 800 for one in json.loads(content)["series"].values())


def test_runs_of_one_name_are_told_apart_and_each_is_shown_once(tmp_path):
    for parent in ("a", "b"):
        make_run(tmp_path / parent / "run")
    make_run(tmp_path / "a" / "other")
    found = WatchedRuns([tmp_path / "a", tmp_path / "a" / "run", tmp_path / "b" / "run"])
    assert [run.label for run in found.runs] == ["other", *(str(tmp_path / p / "run") for p in "ab")]


def test_a_run_that_begins_later_is_shown_too(tmp_path, serve):
    make_run(tmp_path / "b", rows([1]))
    client = serve(tmp_path, tmp_path / "b")
    assert client.ask("/log/1")[0].status == 404
    (tmp_path / "a").mkdir()  # nothing is in it yet
    assert [run["label"] for run in client.json("/state")["runs"]] == ["b"]
    (tmp_path / "a").rmdir()
    make_run(tmp_path / "a", rows([1, 2]))
    (make_run(tmp_path / "export") / "model_index.json").touch()
    for _ in range(2):
        assert [run["label"] for run in client.json("/state")["runs"]] == ["b", "a"]
    assert client.json("/log/1")["rows"] == 2
    assert client.json("/log/0")["rows"] == 1
    shutil.rmtree(tmp_path / "a")
    shutil.rmtree(tmp_path / "b")
    assert len(client.json("/state")["runs"]) == 2  # what it has read stays


def test_a_log_that_cannot_be_read_is_a_problem_and_no_end(tmp_path):
    run = make_run(tmp_path / "run")
    (run / "log.jsonl").unlink()
    (run / "log.jsonl").mkdir()
    state = WatchedRun(run, "run").state()
    assert "log.jsonl" in state["problem"]


def test_mistakes(tmp_path, monkeypatch, capsys):
    assert main(["watch", str(tmp_path / "gone")]) == 2
    assert "no such folder" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main(["watch", str(tmp_path / "empty")]) == 2
    assert "a folder without runs" in capsys.readouterr().err
    assert main(["watch", "creatures"]) == 2
    assert "has no log" in capsys.readouterr().err
    run = str(make_run(tmp_path / "run"))
    for host in ("203.0.113.7", "a..b"):
        assert main(["watch", run, "--host", host]) == 2
        assert f"--host {host}: this machine has no such address" in capsys.readouterr().err
    assert main(["watch", run, "--host", ""]) == 2
    monkeypatch.chdir(tmp_path / "empty")
    assert main(["watch"]) == 2
    assert "runs: there are no runs" in capsys.readouterr().err


def test_a_taken_port(tmp_path, monkeypatch, capsys):
    run = make_run(tmp_path / "run")
    with WatchServer(WatchedRuns([run])) as other:
        assert main(["watch", str(run), "--port", str(other.server_port)]) == 2
        said = capsys.readouterr().err
        free = int(re.search(r"--port (\d+)` is free", said)[1])
        assert free != other.server_port
        monkeypatch.setattr(watch_server, "PORT", other.server_port)
        with start_server(WatchedRuns([run]), "127.0.0.1") as next_one:
            assert other.server_port < next_one.server_port < other.server_port + ports.TRIED
        monkeypatch.setattr(ports, "TRIED", 1)
        with pytest.raises(UserError, match="cannot be used"):
            start_server(WatchedRuns([run]), "127.0.0.1")


def test_ctrl_c_ends_it_well(tmp_path, monkeypatch, capsys):
    def interrupted(server):
        raise KeyboardInterrupt

    monkeypatch.setattr(WatchServer, "serve_forever", interrupted)
    assert main(["watch", str(make_run(tmp_path / "run")), "--port", "0"]) == 0
    out, err = capsys.readouterr()
    assert re.fullmatch(r"page: http://127\.0\.0\.1:\d+/\n", out)
    assert err.splitlines() == ["Ctrl-C ends it", "no longer watching; the runs are as they were"]
