"""Runs by name: folders, exports on a Hub that is a folder here, models of the package."""

from __future__ import annotations

import shutil
from fnmatch import fnmatch
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

import t2ikit
from conftest import TOYS
from t2ikit import UserError, open_run
from t2ikit.cli import completion, main
from t2ikit.exporters.export import export
from t2ikit.runs import named
from t2ikit.utils import hub
from training_support import export_of, no_curves, train_toy  # noqa: F401

NAME = "hf:me/toy"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train_toy(tmp_path_factory.mktemp("named") / "run", {"train.steps": 1, "data.size": 16})


@pytest.fixture(scope="module")
def exported(run):
    """An export, with files in it that nobody should fetch."""
    out = export_of(run, run.path.parent / "export")
    (out / "pipeline.py").write_text("raise SystemExit('code of an export was run')")
    (out / "model.bin").write_bytes(b"pickle")
    return out


class Hub:
    """Stands for the Hub: repositories are folders here, and what is fetched is copied."""

    def __init__(self, cache: Path, repositories: dict[str, Path]) -> None:
        self.cache, self.repositories, self.calls, self.silent = cache, repositories, [], ""

    def snapshot_download(self, repository, *, allow_patterns, revision=None, local_files_only=False):
        self.calls.append((repository, revision, local_files_only))
        place = self.cache / repository
        if local_files_only:
            if not place.is_dir():
                raise LocalEntryNotFoundError("not here")
            return str(place)
        for path in self.repositories[repository].rglob("*"):
            inside = path.relative_to(self.repositories[repository])
            if path.is_file() and any(fnmatch(inside.as_posix(), one) for one in allow_patterns):
                (place / inside).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, place / inside)
        place.mkdir(parents=True, exist_ok=True)
        return str(place)


@pytest.fixture
def fake(exported, tmp_path, monkeypatch):
    made = Hub(tmp_path / "cache", {"me/toy": exported, "me/other": TOYS.parent})
    monkeypatch.setattr(huggingface_hub, "snapshot_download", made.snapshot_download)
    monkeypatch.setattr(
        hub, "unreachable", lambda urls: dict.fromkeys(urls, made.silent) if made.silent else {}
    )
    monkeypatch.chdir(tmp_path)
    return made


@pytest.fixture
def packaged(exported, tmp_path, monkeypatch):
    shutil.copytree(exported, tmp_path / "packaged" / "critters")
    monkeypatch.setattr(named, "PACKAGED", tmp_path / "packaged")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "packaged" / "critters"


def test_a_run_on_the_hub_is_sampled_as_its_folder(fake, run, capsys):
    own = t2ikit.sample(run, ["a red square"], n=1, plugins=TOYS, progress=False).images
    found = t2ikit.sample(NAME, ["a red square"], n=1, plugins=TOYS, progress=False).images
    assert found.equal(own)
    fetched = {path.name for path in fake.cache.rglob("*") if path.is_file()}
    assert {"recipe.toml", "run.json", "model.safetensors"} <= fetched
    assert not {name for name in fetched if name.endswith((".py", ".bin", ".png"))}
    assert open_run(NAME).name == NAME
    assert "downloading me/toy" in capsys.readouterr().err


def test_the_command_writes_nothing_into_what_is_not_the_users(fake, tmp_path):
    assert main(["sample", NAME, "a red square", "-n", "1", "--plugin", str(TOYS), "--device", "cpu"]) == 0
    assert (tmp_path / "outputs" / "001" / "grid.png").is_file()
    assert not list(fake.cache.rglob("outputs"))


def test_a_run_folder_on_the_hub_is_left_as_it_is(fake, run, tmp_path):
    fake.repositories["me/whole"] = run.path
    t2ikit.sample("hf:me/whole", ["a red square"], n=1, plugins=TOYS, progress=False).save()
    assert (tmp_path / "outputs" / "001" / "grid.png").is_file()
    assert not list(fake.cache.rglob("outputs"))


def test_a_revision_is_asked_for_and_offline_the_copy_is_opened(fake):
    open_run(f"{NAME}@v1")
    assert fake.calls == [("me/toy", "v1", False)] * 2
    fake.silent = "this machine was told to stay offline (HF_HUB_OFFLINE)"
    assert open_run(NAME).path == fake.cache / "me" / "toy"
    with pytest.raises(UserError, match="hf:me/other cannot be had from the Hub") as caught:
        open_run("hf:me/other")
    assert "HF_HUB_OFFLINE" in str(caught.value.got)


def test_what_is_no_export_is_not_fetched_and_said(fake):
    with pytest.raises(UserError, match="hf:me/other is not an export of t2ikit"):
        open_run("hf:me/other")
    assert not [path for path in fake.cache.rglob("*") if path.is_file()]
    with pytest.raises(UserError, match="cannot be had") as caught:
        open_run("hf:no id at all")
    assert "no id" in str(caught.value.got)


def test_a_packaged_model_is_a_run_wherever_a_run_is_taken(packaged, run, tmp_path):
    own = t2ikit.sample(run, ["a red square"], n=1, plugins=TOYS, progress=False)
    found = t2ikit.sample("critters", ["a red square"], n=1, plugins=TOYS, progress=False)
    assert found.images.equal(own.images)
    found.save()
    assert (tmp_path / "outputs" / "001" / "grid.png").is_file()
    result = t2ikit.evaluate("critters", metrics="colours", n=2, plugins=TOYS)
    assert result.settings["run"] == "critters"
    assert result.folder.is_relative_to("outputs")
    page = t2ikit.compare(["critters", run], metrics="colours", n=2, plugins=TOYS)
    assert [one.name for one in page.comparison.runs] == ["critters", "run"]
    assert "critters" in completion.run_names("")
    assert not (packaged / "outputs").exists()


def test_a_folder_here_wins(packaged, run, tmp_path):
    shutil.copytree(run.path, tmp_path / "critters")
    opened = open_run("critters")
    assert (opened.path, opened.known_as, opened.name) == (Path("critters"), None, "critters")


def test_an_unknown_name_says_what_there_is(packaged):
    with pytest.raises(UserError, match="critter is not a run folder") as caught:
        open_run("critter")
    assert "hf:OWNER/NAME or critters" in str(caught.value.expected)
    assert str(caught.value.fix).startswith("did you mean critters? `t2ikit runs`")
    for there in ("imagen-001", "imagen-002", "gigagan-001"):
        Path("runs", there).mkdir(parents=True)
        Path("runs", there, "run.json").touch()
    for typed in ("runs/imagen-009", "imagen-009"):
        with pytest.raises(UserError) as caught:
            open_run(typed)
        assert set(str(caught.value.fix).partition("?")[0].split()) >= {str(Path("runs/imagen-001"))}
        assert "gigagan" not in str(caught.value.fix)
    for typed in ("runs/xyz", str(Path("nowhere/at/all/xyz").resolve())):
        with pytest.raises(UserError) as caught:
            open_run(typed)
        assert caught.value.fix == "`t2ikit runs` lists runs"


def test_an_export_is_exported_again(packaged, tmp_path):
    with pytest.raises(UserError, match="plugin file"):  # which no export can need
        export("critters", out=tmp_path / "again", plugins=TOYS)
