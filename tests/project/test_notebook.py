"""examples/first_model.ipynb in a kernel that has nothing but a wheel of t2ikit and what that depends on."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "examples" / "first_model.ipynb"
FEW = {"STEPS = 1000": "STEPS = 2", "IMAGES = 64": "IMAGES = 4"}
OURS = re.compile(r"_?_?(editable_+)?(impl_)?t2ikit", re.IGNORECASE)


def bare_kernel(folder: Path) -> Path:
    """An environment as pip sees it before t2ikit is installed: this one's packages, but not t2ikit's."""
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    theirs = Path(subprocess.check_output([python, "-c", ask], text=True).strip())
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not OURS.match(path.name) and not (theirs / path.name).exists():
            (theirs / path.name).symlink_to(path)
    spec = folder / "kernels" / "bare" / "kernel.json"
    spec.parent.mkdir(parents=True)
    words = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec.write_text(json.dumps({"argv": words, "display_name": "bare", "language": "python"}))
    return python


@pytest.mark.slow
def test_the_notebook_runs_from_a_wheel(tmp_path, monkeypatch):
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "-q", "--no-deps", "-w", tmp_path, ROOT], check=True)
    python = bare_kernel(tmp_path)
    (wheel,) = tmp_path.glob("t2ikit-*.whl")
    for name, value in {"JUPYTER_PATH": tmp_path, "T2IKIT_SOURCE": wheel}.items():
        monkeypatch.setenv(name, str(value))
    for name in ("MPLBACKEND", "PYTHONPATH"):
        monkeypatch.delenv(name, raising=False)
    text = NOTEBOOK.read_text(encoding="utf-8")
    for usual, few in FEW.items():
        assert usual in text
        text = text.replace(usual, few)
    notebook = nbformat.reads(text, as_version=4)
    where = nbformat.v4.new_code_cell("print(t2ikit.__file__)")
    notebook.cells.append(where)
    NotebookClient(
        notebook, timeout=300, kernel_name="bare", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    assert where.outputs[0]["text"].startswith(str(python.parents[1]))
    pictures = [
        out
        for cell in notebook.cells
        for out in cell.get("outputs", ())
        if "image/png" in out.get("data", {})
    ]
    assert len(pictures) == 4  # three grids and the curve
    assert "1 network call for each image" in str(notebook)
    assert (tmp_path / "my-model" / "README.md").is_file()


def test_the_notebook_is_kept_without_outputs():
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
