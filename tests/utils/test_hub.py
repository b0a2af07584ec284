"""Servers that do not answer, and models of the Hub that are here or not: no request unasked."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants
from test_pretrained_text import t5_folder

from clip_support import clip_folder
from t2ikit import NotMeasured, UserError
from t2ikit.metrics import clip_files, hub_weights
from t2ikit.nn.clip import load_clip
from t2ikit.pipeline import TextToImagePipeline
from t2ikit.text.model_files import find_model
from t2ikit.utils import hub

CLIP = "openai/clip-vit-base-patch32"
PATIENCE = hub.SECONDS
URL = "https://download.example/net-00000000.pth"


@pytest.fixture(autouse=True)
def online(monkeypatch, tmp_path):
    """Not told to be offline; empty caches; patience for what answers at once, however busy the machine."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_ETAG_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)  # for processes that a test starts
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(hub, "_known", {})
    monkeypatch.setattr(hub, "SECONDS", 60.0)


def refuse(*_, **__):
    raise ConnectionRefusedError(111, "Connection refused")


def unknown(*_, **__):
    raise socket.gaierror(-2, "Name or service not known")


def hang(*_, **__):
    threading.Event().wait()


@contextmanager
def silent(monkeypatch):
    """Every connection is taken and never answered."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        connect = socket.socket.connect
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(2, 1, 6, "", address)])
        monkeypatch.setattr(socket.socket, "connect", lambda self, _: connect(self, address))
        yield


@pytest.fixture(params=["silent", "refused", "unknown", "hanging"])
def broken(request, monkeypatch):
    """A network that does not work, and the words for it."""
    if request.param in ("silent", "hanging"):
        monkeypatch.setattr(hub, "SECONDS", 0.3)
    if request.param == "silent":
        with silent(monkeypatch):
            yield "timed out|no answer within 0.3 seconds"
    elif request.param == "refused":
        monkeypatch.setattr(socket, "create_connection", refuse)
        yield "Connection refused"
    else:
        monkeypatch.setattr(socket, "getaddrinfo", unknown if request.param == "unknown" else hang)
        yield "not known" if request.param == "unknown" else "no answer within 0.3 seconds"


def test_what_cannot_be_reached_is_one_sentence_within_seconds(broken):
    began = time.monotonic()
    with pytest.raises(
        NotMeasured, match=rf"net-00000000\.pth .*download\.example cannot be reached \(.*{broken}"
    ):
        hub_weights.need_weights(URL)
    with pytest.raises(
        NotMeasured, match=rf"needs config\.json, .*huggingface\.co cannot be reached \(.*{broken}"
    ):
        clip_files.fetch(CLIP)
    with pytest.raises(UserError, match=rf"huggingface\.co cannot be reached \(.*{broken}"):
        find_model("google-t5/t5-small")
    with pytest.raises(UserError, match=rf"huggingface\.co cannot be reached \(.*{broken}") as caught:
        TextToImagePipeline.from_pretrained("owner/name")
    assert time.monotonic() - began < 50  # the name that hangs is looked up for ever
    assert len(str(caught.value.got).splitlines()) == 1


def test_the_patience_is_that_of_a_person_unless_told_otherwise(monkeypatch):
    monkeypatch.setattr(hub, "SECONDS", PATIENCE)
    assert hub.patience() < 5
    for value, seconds in (("30", 30), ("soon", PATIENCE)):
        monkeypatch.setenv("HF_HUB_ETAG_TIMEOUT", value)
        assert hub.patience() == seconds


def test_servers_are_asked_together_and_remembered(monkeypatch):
    asked, together = [], threading.Barrier(4)

    def look(host, *_, **__):
        asked.append(host)
        if len(asked) <= 4:
            together.wait(30)  # broken, if one waited for the other
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look)
    urls = [f"https://{name}.example/file" for name in "abcd"]
    assert all("not known" in why for why in hub.unreachable(urls).values())
    assert sorted(asked) == [f"{name}.example" for name in "abcd"]
    hub.unreachable([*urls, "https://a.example/other"])
    assert len(asked) == 4
    monkeypatch.setattr(hub, "FRESH", 0.0)
    hub.unreachable(urls[:1])
    assert len(asked) == 5


def test_any_answer_will_do(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/file"

        def answer():
            connection, _ = server.accept()
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 503 busy\r\nContent-Length: 0\r\n\r\n")
            connection.close()

        threading.Thread(target=answer, daemon=True).start()
        assert hub.unreachable([url]) == {}


def test_nobody_is_asked_where_it_was_told_to_be_offline(monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a request"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "stay offline (HF_HUB_OFFLINE)" in hub.unreachable([URL])[URL]


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_either_variable_keeps_a_process_offline(name):
    code = "import sys; from t2ikit.utils.hub import is_offline; sys.exit(is_offline())"
    for value, offline in (("1", 1), ("0", 0)):
        assert (
            subprocess.run([sys.executable, "-c", code], env={**os.environ, name: value}).returncode
            == offline
        )


def in_cache(tmp_path: Path, repository: str, folder: str) -> Path:
    """A folder as the Hub's cache would hold it."""
    place = tmp_path / "hub" / f"models--{repository.replace('/', '--')}"
    shutil.copytree(folder, place / "snapshots" / ("a" * 40))
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("a" * 40)
    return place / "snapshots" / ("a" * 40)


def test_models_that_are_here_are_opened_without_a_request(tmp_path, monkeypatch):
    clip = in_cache(tmp_path, CLIP, clip_folder(tmp_path / "clip"))
    t5 = in_cache(tmp_path, "google-t5/t5-small", t5_folder(tmp_path / "t5"))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("a request"))
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a request"))
    assert load_clip(CLIP).encode(["a red cat"]).shape == (1, 24)
    assert clip_files.downloads(CLIP) == []
    assert find_model("google-t5/t5-small").folder == t5
    (clip / "tokenizer.json").unlink()
    assert [(one.name, one.megabytes) for one in clip_files.downloads(CLIP)] == [(CLIP, 605)]
    assert clip_files.downloads("./folder") == []


def test_parts_of_weights_that_are_missing_are_fetched(tmp_path):
    folder = in_cache(tmp_path, CLIP, clip_folder(tmp_path / "clip"))
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    parts = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": parts}))
    assert not hub.has_weights(folder)
    assert clip_files.downloads(CLIP)
    (folder / parts["b"]).touch()
    assert hub.has_weights(folder)


def test_a_download_from_the_hub_is_announced(tmp_path, monkeypatch, capsys):
    source = clip_folder(tmp_path / "clip")
    monkeypatch.setattr(hub, "unreachable", lambda urls: {})
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda name, **_: str(in_cache(tmp_path, name, source))
    )
    clip_files.fetch(CLIP)
    assert f"downloading {CLIP} (605 MB) to {tmp_path}/hub\n" in capsys.readouterr().err
    clip_files.fetch(CLIP)
    assert "downloading" not in capsys.readouterr().err


def test_a_name_that_no_repository_has_is_refused_before_anyone_is_asked(monkeypatch):
    monkeypatch.setattr(hub, "unreachable", lambda urls: pytest.fail("asked"))
    with pytest.raises(UserError, match="no id that the Hub could know"):
        find_model("../runs/imagen-001/export")
    with pytest.raises(UserError, match="no id that the Hub could know"):
        TextToImagePipeline.from_pretrained("runs/imagen-001/export")


def test_an_export_that_is_kept_opens_where_the_hub_does_not_answer(monkeypatch, tmp_path):
    seen = {}

    def snapshot_download(name, **options):
        seen.update(options)
        raise huggingface_hub.errors.LocalEntryNotFoundError("not here")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    with pytest.raises(UserError, match=r"huggingface\.co cannot be reached"):
        TextToImagePipeline.from_pretrained("owner/name")
    assert seen["local_files_only"] is True


def test_a_dataset_is_looked_for_on_this_machine_where_the_hub_does_not_answer(monkeypatch):
    datasets = pytest.importorskip("datasets")
    from t2ikit.data.configs import HubConfig
    from t2ikit.data.formats.hub import open_hub

    def load_dataset(*_, **__):
        assert constants.HF_HUB_OFFLINE
        assert datasets.config.HF_HUB_OFFLINE
        raise FileNotFoundError("not kept")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(UserError, match=r"huggingface\.co cannot be reached"):
        open_hub(HubConfig(spec="hf:owner/name"))
    assert not constants.HF_HUB_OFFLINE
