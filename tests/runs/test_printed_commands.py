"""Commands that are printed to be copied: whatever a folder is called, a shell gives back its name."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

import t2ikit
from t2ikit.cli import main
from t2ikit.cli.output import print_result
from t2ikit.errors import UserError, command
from t2ikit.exporters.export import push
from t2ikit.runs import checkpoint as ckpt
from t2ikit.runs.commands import resume_words, sample_command
from t2ikit.runs.listing import summarise
from t2ikit.runs.run import Run
from t2ikit.training.start import _unwritten

ROOT = Path(t2ikit.__file__).parents[2]
NAMES = ["sp ace;rm", "a<img src=x>", "it's", '"$HOME" `id`', "-n", "ü*?[a]\\"]
TOY = ["train", "--plugin", str(Path(__file__).parents[1] / "toys" / "toys.py"), "--recipe", "toys/denoiser"]
SHORT = ["train.steps=2", "train.samples=1", "train.validation_images=4"]


@pytest.mark.parametrize("name", NAMES)
def test_a_shell_gives_back_what_was_quoted(name):
    words = shlex.split(command("t2ikit", "sample", Path(name), "a prompt"))
    assert words == ["t2ikit", "sample", "./-n" if name == "-n" else name, "a prompt"]


def test_a_run_whose_name_begins_with_a_dash_is_no_option(monkeypatch, tmp_path, capsys):
    run = Run(Path("-o x"), {}, {"plugins": []})
    assert resume_words(run)[-1] == "./-o x"
    assert sample_command(run) == "t2ikit sample './-o x' \"a prompt\""
    print_result([("run", run.path)])
    assert capsys.readouterr().out == "run: ./-o x\n"
    monkeypatch.chdir(tmp_path)
    assert summarise(Path("-o x")).path == "./-o x"


@pytest.mark.parametrize("name", NAMES[:3])
def test_the_commands_for_a_run_name_its_folder(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = [word for setting in SHORT for word in ("--set", setting)]
    assert main([*TOY, *words, "--device", "cpu", "--out", f"{name}/r"]) == 0
    assert f"{name}/r" in printed(capsys.readouterr().out, "t2ikit sample")
    assert main([*TOY, "--out", f"{name}/r"]) == 2  # is there already
    assert f"{name}/r" in printed(capsys.readouterr().err, "t2ikit train --resume")
    run = t2ikit.open_run(f"{name}/r")
    assert f"{name}/r" in printed(str(_unwritten(run, OSError(28, "full"))), "t2ikit train --resume")
    monkeypatch.setattr(ckpt, "save_file", full)
    with pytest.raises(UserError) as error:
        ckpt.save(run.path, ckpt.Snapshot(3, {"generator": {}}))
    assert f"{name}/r" in printed(str(error.value), "t2ikit train --resume")


@pytest.mark.parametrize("name", NAMES)
def test_the_command_for_an_upload_names_the_export(name, tmp_path, monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "create_repo", full)
    with pytest.raises(UserError) as error:
        push(tmp_path / name, "me/mine", private=True)
    words = shlex.split(error.value.fix.split("try later: `")[1][:-1])
    assert words == ["hf", "upload", "me/mine", str(tmp_path / name), "--private"]


@pytest.mark.parametrize("name", NAMES)
def test_a_pipeline_is_opened_by_a_line_of_python(name, tmp_path):
    (tmp_path / name).mkdir()
    (tmp_path / name / "model_index.json").touch()
    with pytest.raises(UserError) as error:
        t2ikit.open_run(tmp_path / name)
    (call,) = re.findall(r"from_pretrained\((.*)\), or the class", error.value.fix)
    assert ast.literal_eval(call) == str(tmp_path / name)


def full(*given, **options):
    raise OSError(28, "No space left on device")


def printed(text: str, start: str) -> list[str]:
    """The words of the command in a text that begins so; it ends with the backquote or the line."""
    found = re.search(rf"`({re.escape(start)} [^`]*)`", text) or re.search(
        rf"({re.escape(start)} .*)$", text, re.M
    )
    assert found is not None, text
    return shlex.split(found[1])


# ---------------------------------------------------------------- in the source

PROGRAM = re.compile(
    r"(?<![\w./-])(?:t2ikit (?:train|sample|evaluate|compare|export|data|memory|options|runs)|pip install|"
    r"hf \w+|accelerate launch|python (?:-m |\S+\.py))"
)
OPTION = re.compile(r"(?<!\w)--(?:set|plugin|resume|data|out|recipe|upscale|checkpoint)\b")
END = re.compile(r"[`\n;]|[,:] ")
QUOTING = {
    "command",
    "shlex.quote",
    "shlex.join",
    "example",
    "install",
    "resume_command",
    "sample_command",
}
"""Functions whose result may stand in a command."""
CONSTANT = {"--set generator.{name}", "--set {name}", "--set data.{what}", "t2ikit sample {base}"}
"""Of placeholders that stand for words of our own source."""


def unquoted(node: ast.JoinedStr, marks: re.Pattern[str]) -> Iterator[str]:
    """Placeholders within a command of an f-string that are neither quoted nor numbers."""
    inside = False
    text = ""
    for part in node.values:
        if isinstance(part, ast.Constant):
            text += str(part.value)
            end = max((found.end() for found in END.finditer(str(part.value))), default=None)
            tail = str(part.value) if end is None else str(part.value)[end:]
            inside = bool(marks.search(tail)) or (inside and end is None)
        elif isinstance(part, ast.FormattedValue):
            text += "{" + ast.unparse(part.value) + "}"
            number = part.format_spec is not None and re.search(r"[dgf]'$", ast.unparse(part.format_spec))
            name = ast.unparse(part.value.func) if isinstance(part.value, ast.Call) else ""
            if inside and not number and name not in QUOTING:
                yield text


def commands_in(source: str) -> Iterator[str]:
    """Placeholders of a module's f-strings that a shell would take apart."""
    tree = ast.parse(source)
    fixes = {
        part
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        for keyword in call.keywords
        if keyword.arg == "fix"
        for part in ast.walk(keyword.value)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            marks = re.compile(f"{PROGRAM.pattern}|{OPTION.pattern}") if node in fixes else PROGRAM
            for found in unquoted(node, marks):
                if not found.endswith(tuple(CONSTANT)):
                    yield found


def test_no_command_in_the_source_has_a_bare_placeholder():
    found = [
        f"{path.relative_to(ROOT)}: {text}"
        for folder in ("src", "plugins")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for text in commands_in(path.read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("source", "wrong"),
    [
        ('f"go on with `t2ikit train --resume {path}`"', True),
        ('f"go on with `{command(path)}`"', False),
        ('f"go on with `t2ikit train --resume {shlex.quote(path)}`"', False),
        ('f"pip install {name}"', True),
        ("f\"pip install {' '.join(names)}\"", True),
        ('UserError(f"--out {path}: it is full", fix=f"choose --out {other}")', True),
        ('UserError(f"--out {path}: it is full", fix=f"--set train.steps={steps:d}")', False),
        ('UserError("", fix=f"try `t2ikit data` on {path}")', False),
    ],
)
def test_a_bare_placeholder_is_found(source, wrong):
    assert bool(list(commands_in(source))) == wrong
