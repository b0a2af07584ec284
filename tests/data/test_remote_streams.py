"""Shards over http and datasets of the Hub as streams, from a server on this machine that fails at times."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest
from PIL import Image
from test_streaming import names, write_shards

from t2ikit.data.configs import HubConfig, ShardsConfig
from t2ikit.data.formats.shard_stream import open_shards
from t2ikit.data.streams import fetching
from t2ikit.data.streams.fetching import download
from t2ikit.data.streams.hub_stream import HubStream, open_hub_dataset
from t2ikit.errors import UserError
from t2ikit.utils import hub
from training_support import RARELY, At, Killed, kill, state_of, train_toy

pytest.importorskip("webdataset")
COMMIT = "c" * 40


class Server(ThreadingHTTPServer):
    """Serves files, and the two requests of the Hub that a stream needs.

    Attributes:
        files: contents by path.
        failures: what the next requests of a path come to: a status, or "cut" in the middle.
        asked: the paths that were asked for.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.failures: dict[str, list[int | str]] = {}
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def add_dataset(self, name: str, files: dict[str, bytes], revision: str | None = None) -> None:
        """Put a dataset on the fake Hub."""
        page = f"/api/datasets/{name}" + (f"/revision/{revision}" if revision else "")
        siblings = [{"rfilename": path} for path in files]
        self.files[page] = json.dumps({"id": name, "sha": COMMIT, "siblings": siblings}).encode()
        for path, content in files.items():
            self.files[f"/datasets/{name}/resolve/{COMMIT}/{path}"] = content


class Handler(BaseHTTPRequestHandler):
    """Answers from the files of its server."""

    server: Server

    def log_message(self, *given: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        """The headers alone."""
        self.answer(body=False)

    def do_GET(self) -> None:
        """A file, from where a range begins."""
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        path = unquote(self.path)
        failures = self.server.failures.get(path, []) if body else []
        failure = failures.pop(0) if failures else None
        content = self.server.files.get(path)
        if body:
            self.server.asked.append(path)
        if content is None or isinstance(failure, int):
            self.send_response(failure if isinstance(failure, int) else 404)
            self.send_header("Content-Length", "0")
            self.send_header("X-Error-Code", "RepoNotFound")
            self.end_headers()
            return
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if body:
            self.wfile.write(content[start : (start + len(content)) // 2 if failure == "cut" else None])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(fetching, "WAITS", (0.0, 0.0, 0.0))
    monkeypatch.setattr(hub, "_known", {})
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.url)
        page = f"{server.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", page)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        yield server
        server.shutdown()


# Files


def test_a_download_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.files["/a"] = bytes(range(256)) * 1000
    server.failures["/a"] = [503, "cut", "cut"]
    download(f"{server.url}/a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == server.files["/a"]
    assert len(server.asked) == 4


def test_a_file_that_changed_meanwhile_is_fetched_again(server: Server, tmp_path: Path, monkeypatch) -> None:
    server.files["/a"] = b"x" * 1000
    server.failures["/a"] = ["cut"]
    answer = Handler.answer

    def changed(self: Handler, *, body: bool) -> None:
        if "If-Range" in self.headers:
            server.files["/a"] = b"y" * 900
            del self.headers["Range"]  # as RFC 9110 has it where If-Range does not match
        answer(self, body=body)

    monkeypatch.setattr(Handler, "answer", changed)
    download(f"{server.url}/a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"y" * 900


@pytest.mark.parametrize(
    ("failures", "words", "times"),
    [([500] * 9, "tried 4 times", 4), (["cut"] * 9, "connection ended", 4), ([], "check the address", 1)],
)
def test_what_cannot_be_fetched(server: Server, tmp_path: Path, failures, words: str, times: int) -> None:
    if failures:
        server.files["/a"] = b"x" * 1000
    server.failures["/a"] = failures
    with pytest.raises(UserError, match="cannot be fetched") as caught:
        download(f"{server.url}/a", tmp_path / "a")
    assert words in str(caught.value)
    assert len(server.asked) == times


def test_shards_over_http_are_those_on_disk(server: Server, tmp_path: Path) -> None:
    spec = write_shards(tmp_path / "shards", 3, 4)
    for path in (tmp_path / "shards").iterdir():
        server.files[f"/{path.name}"] = path.read_bytes()
    server.failures["/s01.tar"] = [502, "cut"]
    far = open_shards(ShardsConfig(spec=f"wds:{server.url}/s{{00..02}}.tar", size=8))
    near = open_shards(ShardsConfig(spec=spec, size=8, stream=True))
    assert names(far, 20) == names(near, 20)
    server.failures["/s02.tar"] = [503] * 99
    again = open_shards(ShardsConfig(spec=f"wds:{server.url}/s{{00..02}}.tar", size=8))
    with pytest.raises(
        UserError, match="resume the run"
    ):  # and is not skipped, which no resumed run would do
        names(again, 20)
    server.failures.clear()
    assert names(again, 20, start=5) == names(near, 20, start=5)


# The Hub


@pytest.fixture(scope="module")
def parquet(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Three files for training and one for testing, as `datasets` uploads them."""
    arrow, tables = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")

    def file(kind: int) -> bytes:
        cells, target = [], io.BytesIO()
        for i in range(6):
            content = io.BytesIO()
            Image.new("RGB", (9, 9), (40 * kind, 40 * i, 99)).save(content, "PNG")
            cells.append({"bytes": content.getvalue(), "path": f"{kind}-{i}.png"})
        texts = [f"a red {kind} {i}" for i in range(6)]
        tables.write_table(arrow.table({"image": cells, "text": texts}), target)
        return target.getvalue()

    found = {f"data/train-{i:05}-of-00003.parquet": file(i) for i in range(3)}
    return {"README.md": b"# Pictures", **found, "data/test-00000-of-00001.parquet": file(3)}


def stream(**options: object) -> HubStream:
    dataset = open_hub_dataset(HubConfig(**{"spec": "hf:me/pictures", "stream": True, "size": 8, **options}))
    assert isinstance(dataset, HubStream)
    return dataset


def captions(dataset: HubStream, count: int, start: int = 0) -> list[str]:
    return [record.captions[0] for record in itertools.islice(dataset.records(3, 0, 1, start), count)]


def test_a_hub_dataset_is_streamed_by_its_splits(server: Server, parquet) -> None:
    server.add_dataset("me/pictures", parquet)
    train = "/datasets/me/pictures/resolve/" + COMMIT + "/data/train-00001-of-00003.parquet"
    server.failures[train] = [503]
    dataset = stream()
    assert not any("train-" in path for path in server.asked)  # nothing is fetched before it is needed
    whole = captions(dataset, 40)
    assert set(whole[:18]) == {f"a red {kind} {i}" for kind in range(3) for i in range(6)}
    assert [captions(stream(), 5, start) for start in (3, 18, 30)] == [whole[s : s + 5] for s in (3, 18, 30)]
    assert {dataset.captions("validation", i)[0] for i in range(6)} == {f"a red 3 {i}" for i in range(6)}
    assert dataset.size("validation") == 6
    assert set(dataset.prompts(6, 0)) == {f"a red 3 {i}" for i in range(6)}
    assert dataset.notes == (
        "splits: 3 files of train to train on, data/test-00000-of-00001.parquet to validate on",
    )
    assert dataset.fingerprint == stream().fingerprint != stream(size=16).fingerprint


def test_one_split_alone_and_none_held_out(server: Server, parquet) -> None:
    server.add_dataset("me/pictures", parquet)
    one = stream(spec="hf:me/pictures:test")
    assert one.size("validation") > 0
    assert {c.split(" ")[2] for c in captions(one, 12)} == {"3"}
    assert stream(validation=0).size("validation") == 0
    with pytest.raises(UserError, match="there is no split 'tset'") as caught:
        stream(spec="hf:me/pictures:tset")
    assert "did you mean 'test'" in str(caught.value)


def test_other_formats_are_read_from_their_copy(server: Server, parquet) -> None:
    server.add_dataset("me/pictures", {"a.json": b"{}"})
    with pytest.raises(UserError, match="no file that can be streamed") as caught:
        stream()
    assert "1 files (.json)" in str(caught.value)
    copy = {f"default/train/{i:04}.parquet": parquet[f"data/train-{i:05}-of-00003.parquet"] for i in range(3)}
    server.add_dataset("me/pictures", copy, "refs/convert/parquet")
    assert len(set(captions(stream(subset="default"), 17))) >= 16
    with pytest.raises(UserError, match="under other"):
        stream(subset="other")


def test_a_dataset_that_is_not_there_is_explained(server: Server) -> None:
    with pytest.raises(UserError, match="cannot be loaded") as caught:
        stream(spec="hf:me/nothing")
    assert "the Hub has none of that name" in str(caught.value)


def test_a_run_killed_on_the_hub_ends_as_one_never_stopped(server: Server, parquet, tmp_path: Path) -> None:
    server.add_dataset("me/pictures", parquet)
    settings = {"data.size": 16, "data.stream": True, "data.cache": str(tmp_path / "cache"), "train.steps": 5}
    settings |= {**RARELY, "train.save_every": 2, "train.log_every": 1, "train.num_workers": 0}
    whole = train_toy(tmp_path / "whole", settings, data="hf:me/pictures")
    with pytest.raises(Killed):
        train_toy(tmp_path / "part", settings, data="hf:me/pictures", callbacks=[At(3, kill)])
    train_toy(resume=tmp_path / "part")
    assert state_of(tmp_path / "part") == state_of(whole.path)
