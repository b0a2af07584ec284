"""No request leaves this machine unasked; what would be fetched is named with its size."""

from __future__ import annotations

import importlib.util
import socket
import warnings
from dataclasses import replace

import pytest
from diffusers import DiffusionPipeline
from huggingface_hub import constants
from test_hub import CLIP, in_cache
from test_pretrained_text import t5_folder
from test_resume import IMAGEN

import t2ikit
from clip_support import clip_folder
from t2ikit.cli import main
from t2ikit.evaluation.evaluator import Evaluator
from t2ikit.evaluation.files import measure_into, read_evaluation
from t2ikit.evaluation.results import EvaluationOptions
from t2ikit.metrics import hub_weights
from t2ikit.metrics.selection import fetch_missing, select_metrics
from t2ikit.registry.registry import Registry
from t2ikit.utils import hub
from t2ikit_imagen.pipeline import ImagenPipeline

SETTINGS = [*IMAGEN, "train.steps=2", "sampler.steps=1"]
CLIPS = "clip-distance, clip-diversity and clip-score (605 MB for all of them)"


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """Addresses and names that were asked for; nothing answers. Caches are empty, no extra is installed."""
    found = []

    def connect(self, address):
        if self.family == socket.AF_UNIX:
            return plain(self, address)
        found.append(address)
        raise ConnectionRefusedError(111, "blocked")

    def look(host, *_, **__):
        found.append(host)
        raise socket.gaierror(-2, "blocked")

    plain, find = socket.socket.connect, importlib.util.find_spec
    for method in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, method, connect)
    monkeypatch.setattr(socket, "getaddrinfo", look)
    extras = ("lpips", "torch_fidelity", "torchvision")
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name in extras else find(name, *a)
    )
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(hub, "_known", {})
    return found


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two tiny runs."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("one", "two"):
        words = [
            "train",
            "--plugin",
            "imagen",
            "--out",
            str(folder / name),
            "--device",
            "cpu",
            "--seed",
            str(len(name)),
        ]
        assert main([*words, *(word for setting in SETTINGS for word in ("--set", setting))]) == 0
    return [str(folder / name) for name in ("one", "two")]


def test_no_command_asks_anything_by_default(asked, tmp_path, runs, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["--plugin", "imagen", "--out", "run", "--device", "cpu"]
    assert main(["train", *words, *(word for setting in SETTINGS for word in ("--set", setting))]) == 0
    assert main(["sample", "run", "a red cat", "--device", "cpu", "--out", "images"]) == 0
    assert main(["evaluate", "run", "-n", "2", "--device", "cpu", "--sweep", "steps=1"]) == 0
    assert f"needs a download: {CLIPS}" in capsys.readouterr().out
    assert main(["evaluate", "run", "-n", "5", "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "prompt-accuracy/joint" in out
    assert "reader-distance/fd-reader" in out
    assert f"not measured, needs a download: {CLIPS}: --metrics all fetches what is missing\n" in out
    packages = "fid (96 MB), precision-recall (553 MB), lpips (244 MB): pip install lpips torch-fidelity"
    assert f"not measured, needs packages: {packages}, then --metrics all\n" in out
    assert out.count("not measured") == 2
    assert main(["compare", "run", runs[0], "-n", "4", "--out", "report.html", "--device", "cpu"]) == 0
    assert f"needs a download: {CLIPS}" in capsys.readouterr().err
    assert (
        "needs a download (605 MB): --metrics clip-score fetches it" in (tmp_path / "report.html").read_text()
    )
    assert main(["export", "run", "--format", "diffusers", "--out", "export"]) == 0
    assert main(["sample", "export", "a red cat", "--device", "cpu", "--out", "exported"]) == 0
    ImagenPipeline.from_pretrained("export")("a red cat")
    DiffusionPipeline.from_pretrained("export", custom_pipeline="export", trust_remote_code=True)
    assert asked == []


def test_a_clip_and_a_text_encoder_that_are_here_are_used_without_a_request(asked, tmp_path, capfd):
    in_cache(tmp_path, CLIP, clip_folder(tmp_path / "clip"))
    in_cache(tmp_path, "google-t5/t5-small", t5_folder(tmp_path / "t5"))
    settings = [*SETTINGS, "text.use=t5", "text.length=8", f"text.cache={tmp_path}/cache"]
    run = str(tmp_path / "run")
    words = ["--plugin", "imagen", "--out", run, "--device", "cpu"]
    assert main(["train", *words, *(word for setting in settings for word in ("--set", setting))]) == 0
    assert main(["sample", run, "a red cat", "--device", "cpu", "--out", str(tmp_path / "images")]) == 0
    capfd.readouterr()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        result = t2ikit.evaluate(run, n=8, device="cpu")
    assert {"clip-score/score", "clip-distance/fd-clip", "clip-diversity/per-prompt"} <= set(result.measures)
    assert set(result.needs) == {"fid", "precision-recall", "lpips"}
    assert capfd.readouterr().err == ""  # neither of transformers' image processor nor of anything else
    assert asked == []


@pytest.mark.parametrize(
    ("words", "name", "size"),
    [
        (["memory", "--plugin", "gigagan", "--recipe", "gigagan/gigagan-64"], CLIP, 605),
        (["memory", "--plugin", "imagen", "--set", "text.use=t5"], "google-t5/t5-small", 242),
        (["train", "--dry-run", "--plugin", "imagen", "--set", "text.use=t5"], "google-t5/t5-small", 242),
    ],
)
def test_a_forecast_downloads_nothing_and_says_how_to(
    asked, tmp_path, monkeypatch, capsys, words, name, size
):
    monkeypatch.chdir(tmp_path)
    assert main([*words]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"a forecast downloads nothing: hf download {name} ({size} MB)" in said
    assert asked == []
    assert not any(tmp_path.glob("runs/*"))


def test_what_is_asked_for_and_cannot_be_reached_is_one_sentence_each(asked, runs, capsys):
    assert main(["evaluate", runs[0], "-n", "4", "--metrics", "all", "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if "huggingface.co cannot be reached (" in line]
    assert [line.split(":")[0].strip() for line in lines] == ["clip-distance", "clip-diversity", "clip-score"]
    assert len(set(asked)) == 1  # the Hub, once; nothing for metrics whose package is not here
    assert len(asked) == 1
    assert main(["evaluate", runs[0], "-n", "4", "--metrics", "clip-score", "--device", "cpu"]) == 2
    assert "huggingface.co cannot be reached (" in capsys.readouterr().err


FETCHING = """
from pathlib import Path
from t2ikit import Download, Measure, MetricSpec, hookimpl

URL = "https://lens.example/lens.bin"

class Lens:
    def downloads(self):
        return [] if Path(HERE).exists() else [Download("lens.bin", 7, URL), Download("lens.json", 0.5, URL)]

    def dependencies(self):
        return {"lens": str(Path(HERE).exists())}

    def fetch(self):
        Path(HERE).touch()

    def __call__(self, drawn):
        assert Path(HERE).exists()
        return {"x": Measure(1.0, len(drawn.images))}

class Late:
    def downloads(self):
        return [Download("late.bin", None, URL)]

    def __call__(self, drawn):
        return {"x": Measure(2.0, len(drawn.images))}

class Wrong:
    def downloads(self):
        return ["lens.bin"]

    def __call__(self, drawn):
        return {}

@hookimpl
def t2ikit_metrics():
    kinds = {"lens": Lens, "late": Late, "wrong": Wrong}
    return [MetricSpec(name, lambda config, context, kind=kind: kind()) for name, kind in kinds.items()]
"""


@pytest.fixture
def fetching(tmp_path):
    """A plugin of metrics that have something to fetch."""
    path = tmp_path / "fetching.py"
    path.write_text(FETCHING.replace("HERE", repr(str(tmp_path / "lens"))))
    return str(path)


def test_a_plugins_metric_says_what_it_would_fetch_and_does_when_asked(asked, runs, fetching, monkeypatch):
    options = EvaluationOptions(n=2)
    evaluator = Evaluator(runs[0], options, plugins=[fetching], device="cpu")
    result = evaluator.measure()
    assert result.not_measured["lens"] == "needs a download (8 MB): --metrics lens fetches it"
    assert result.not_measured["late"] == "needs a download (size unknown): --metrics late fetches it"
    assert "downloads() gave a str, not a t2ikit.Download" in result.not_measured["wrong"]
    assert result.failed == ("wrong",)
    assert "lens (8 MB), late (size unknown)" in result.text()
    assert [one["name"] for one in result.table()["needs"]["lens"]["downloads"]] == ["lens.bin", "lens.json"]
    assert asked == []
    named = replace(options, metrics=("late",))
    late = Evaluator(runs[0], named, plugins=[fetching], device="cpu").measure()
    assert "lens.example cannot be reached (" in late.not_measured["late"]
    assert "late.bin" in late.not_measured["late"]
    monkeypatch.setattr(hub, "_ask", lambda root: "")
    monkeypatch.setattr(hub, "_known", {})
    assert Evaluator(runs[0], named, plugins=[fetching], device="cpu").measure().measures["late/x"].value == 2
    found = Evaluator(runs[0], replace(options, metrics=("lens",)), plugins=[fetching], device="cpu")
    assert found.settings()["metrics"]["lens"]["stands_on"] == {"lens": "True"}  # fetched before
    assert found.measure().measures["lens/x"].value == 1


def test_what_is_here_is_measured_by_default_and_anew(asked, runs, fetching, tmp_path):
    """An evaluation that was written without it is not read in its place."""

    def evaluator():
        return Evaluator(runs[0], EvaluationOptions(n=3), plugins=[fetching], device="cpu")

    before = evaluator().settings()
    (tmp_path / "lens").touch()
    after = evaluator()
    assert after.settings()["metrics"]["lens"] != before["metrics"]["lens"]
    assert after.measure().measures["lens/x"].value == 1


def test_what_was_lacking_is_read_again_as_it_was_told(asked, runs):
    evaluator = Evaluator(runs[1], EvaluationOptions(n=2), device="cpu")
    written = measure_into(evaluator)
    again = read_evaluation(evaluator, {}, 1)
    assert again.needs == written.needs
    assert again.needs["clip-score"].downloads[0].megabytes == 605
    lines = [line for line in again.text().splitlines() if "not measured" in line]
    assert lines == [line for line in written.text().splitlines() if "not measured" in line]


def test_every_metric_with_weights_says_their_size(asked):
    chosen = fetch_missing(select_metrics(Registry.load(), ["all"], {}), asked=False)
    sizes = {name: one.needs.downloads for name, one in chosen.items() if one.needs}
    assert set(sizes) == {"fid", "precision-recall", "lpips", "clip-score", "clip-distance", "clip-diversity"}
    assert all(each.megabytes for downloads in sizes.values() for each in downloads)
    assert {url for url in hub_weights.MEGABYTES if hub_weights.downloads(url)} == set(hub_weights.MEGABYTES)


def test_weights_on_disk_need_no_download(asked, monkeypatch):
    for url in hub_weights.MEGABYTES:
        hub_weights.place(url).parent.mkdir(parents=True, exist_ok=True)
        hub_weights.place(url).touch()
    monkeypatch.setattr("t2ikit.metrics.packages.is_installed", lambda module: True)
    for name in ("fid", "precision-recall", "lpips"):
        one = select_metrics(Registry.load(), [name], {})[name]
        assert (one.downloads, one.error) == ((), None)
        assert one.dependencies["weights"] != "not here"
