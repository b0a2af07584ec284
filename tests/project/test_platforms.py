"""What differs between systems: encodings, files that others have open, folders on the disk, workers."""

from __future__ import annotations

import ast
import io
import multiprocessing
import os
import sys
from pathlib import Path

import pytest

from t2ikit.cli import main
from t2ikit.data.workers import prepared
from t2ikit.runs import checkpoint
from t2ikit.utils import files

ROOT = Path(__file__).parents[2]
SOURCES = [path for folder in ("src", "plugins", "examples") for path in (ROOT / folder).rglob("*.py")]


def opens_text(call: ast.Call) -> bool:
    """Whether a call reads or writes a text file in the encoding of the system."""
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if any(word.arg == "encoding" for word in call.keywords):
        return False
    if name in ("read_text", "write_text"):
        return isinstance(function, ast.Attribute)
    mode: ast.expr | None = None
    named = [word.value for word in call.keywords if word.arg == "mode"]
    if named:
        mode = named[0]
    elif isinstance(function, ast.Name):  # the built-in
        mode = call.args[1] if len(call.args) > 1 else ast.Constant("r")
    elif len(call.args) == 1:  # a path's
        mode = call.args[0]
    text = isinstance(mode, ast.Constant) and mode.value in ("r", "w", "a", "x", "r+", "w+", "a+")
    return name == "open" and text


@pytest.mark.parametrize(
    "code", ["path.read_text()", "open(path)", 'path.open("w")', 'open(path, "w")', 'path.open(mode="a")']
)
def test_text_without_an_encoding_is_found(code):
    assert opens_text(ast.parse(code, mode="eval").body)


def test_no_text_is_in_the_encoding_of_the_system():
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and opens_text(node)
    ]
    assert found == []


def test_output_that_knows_few_characters_shows_the_others_as_numbers(monkeypatch, tmp_path):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="cp1252"))
    assert main(["recipes"]) == 0
    print("\u732b", flush=True)
    assert written.getvalue().rstrip().endswith(b"\\u732b")


def test_files_are_the_same_bytes_everywhere(tmp_path):
    files.write_text(tmp_path / "a.txt", "one\ntwo\u00b7\n")
    assert (tmp_path / "a.txt").read_bytes() == "one\ntwo\u00b7\n".encode()


@pytest.mark.parametrize("times", [3, 1000])
def test_a_file_that_another_has_open_for_a_moment_is_replaced(tmp_path, monkeypatch, times):
    """As Windows behaves; on other systems nothing is tried twice."""
    tried, replace = [], os.replace

    def busy(source, target):
        tried.append(source)
        if len(tried) <= times:
            raise PermissionError(13, "used by another process")
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", busy)
    monkeypatch.setattr(files.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(files, "WINDOWS", True)
    if times < 10:
        files.write_text(tmp_path / "a.txt", "new")
        assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "new"
    else:
        with pytest.raises(PermissionError):
            files.write_text(tmp_path / "a.txt", "new")
        monkeypatch.setattr(files, "WINDOWS", False)
        before = len(tried)
        with pytest.raises(PermissionError):
            files.write_text(tmp_path / "a.txt", "new")
        assert len(tried) == before + 1


def test_a_checkpoint_is_written_where_folders_cannot_be_opened(tmp_path, monkeypatch):
    """As on Windows, where only a file that is open for writing can be synced."""
    synced, opened, start, sync = [], {}, os.open, os.fsync

    def open_(path, flags, *rest):
        if Path(path).is_dir():
            raise PermissionError(13, "a folder")
        handle = start(path, flags, *rest)
        opened[handle] = (Path(path).name, bool(flags & os.O_RDWR))
        return handle

    def fsync(handle):
        if handle in opened:
            synced.append(opened[handle])
        sync(handle)

    monkeypatch.setattr(checkpoint, "WINDOWS", True)
    monkeypatch.setattr(checkpoint.os, "open", open_)
    monkeypatch.setattr(checkpoint.os, "fsync", fsync)
    written = checkpoint.save(tmp_path, checkpoint.Snapshot(3, {}, {"a": 1}))
    assert sorted(synced) == [("manifest.json", True), ("state.json", True)]
    assert checkpoint.load(written).state["a"] == 1


def test_workers_that_cannot_be_forked_are_none(monkeypatch):
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    here = os.getpid()
    assert list(prepared(lambda first, count: iter([(first, count, os.getpid())]), 2)) == [(0, 1, here)]
