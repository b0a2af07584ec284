"""Help, its examples, completion, and `python -m t2ikit`."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import subprocess
import sys
from importlib.metadata import entry_points

import pytest
import typer

from conftest import TESTS
from t2ikit import cli
from t2ikit.cli import completion, main
from t2ikit.cli.command import continued
from t2ikit.cli.examples import EXAMPLES
from t2ikit.registry.registry import Registry

GROUP = typer.main.get_command(cli.app)


def commands_of(group, before: str = "") -> dict[str, object]:
    """Commands by what is typed for them, those of a group too: "train", "plugin", "plugin new"."""
    found = {f"{before}{name}": command for name, command in group.commands.items()}
    for name, command in list(found.items()):
        found |= commands_of(command, f"{name} ") if hasattr(command, "commands") else {}
    return found


COMMANDS = commands_of(GROUP)
NAMES = sorted(COMMANDS)
ALL = [(name, example) for name, examples in EXAMPLES.items() for example in examples]


def words_of(example: str) -> list[str]:
    """The words after `t2ikit`, as a shell passes them; what is redirected is left out."""
    program, *words = shlex.split(example.split(" > ")[0])
    assert program == "t2ikit"
    return words


def help_of(capsys, monkeypatch, name: str, columns: int) -> str:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main([*name.split(), "--help"]) == 0
    return capsys.readouterr().out


# ---------------------------------------------------------------- examples


def test_every_command_has_two_examples():
    assert set(EXAMPLES) == {"", *NAMES}
    assert all(len(set(examples)) >= 2 for examples in EXAMPLES.values())


@pytest.mark.parametrize(("name", "example"), ALL)
def test_every_example_can_be_parsed(name, example):
    command, *words = words_of(example)
    while hasattr(COMMANDS[command], "commands"):
        command, *words = f"{command} {words[0]}", *words[1:]
    assert name in ("", command, command.split()[0])
    context = COMMANDS[command].make_context(command, words)
    assert context.args == []


@pytest.mark.parametrize(
    "example", [one for name in ("plugins", "recipes", "options") for one in EXAMPLES[name]]
)
def test_examples_of_listings_work(capsys, tmp_path, monkeypatch, example):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_loss.py").write_text((TESTS / "toys" / "failing.py").read_text())
    assert main(words_of(example)) == 0
    assert capsys.readouterr().out


@pytest.mark.parametrize(("name", "example"), ALL)
def test_parts_that_examples_name_exist(name, example):
    words = words_of(example)
    registry = Registry.load()
    kinds = {"--recipe": "recipes", "--sampler": "samplers"}
    for option, value in itertools.pairwise(words):
        if option == "--plugin" and not value.endswith(".py"):
            assert value in registry.plugins
        elif kinds.get(option):
            registry.find(kinds[option], value)
        elif option == "--format":
            assert value in completion.exporter_names("")
        elif option == "--metrics":
            assert all(registry.find("metrics", metric) for metric in value.split(","))


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES["memory"])
def test_examples_of_memory_work(capsys, tmp_path, monkeypatch, example):
    monkeypatch.chdir(tmp_path)
    assert main(words_of(example)) == 0
    assert "total" in capsys.readouterr().out


@pytest.mark.parametrize("width", [30, 39, 60, 79])
@pytest.mark.parametrize("example", [example for _, example in ALL])
def test_an_example_that_is_broken_is_the_same_to_a_shell(example, width):
    text = continued(example, width, "  ")
    joined = text.replace("\\\n", "")  # as a shell reads a backslash before a line's end
    assert shlex.split(joined) == shlex.split(example)
    longest = max(len(word) for word in re.findall(r'--\S+ "[^"]*"|"[^"]*"|\S+', example))
    assert max(map(len, text.split("\n"))) <= max(width, longest + 30)


# ---------------------------------------------------------------- layout


@pytest.mark.parametrize("name", ["", *NAMES])
@pytest.mark.parametrize("columns", [40, 80, 200])
def test_help_fits_the_terminal(capsys, monkeypatch, name, columns):
    text = help_of(capsys, monkeypatch, name, columns)
    assert max(map(len, text.splitlines())) <= columns
    assert text.startswith(f"Usage: t2ikit{' ' * bool(name)}{name} ")
    assert "..." not in text.replace("]...", "").replace("N...", "").replace("RUN...", "").replace(",...", "")
    assert "\nExamples:\n  t2ikit " in text


@pytest.mark.parametrize("name", NAMES)
def test_help_names_every_value_and_no_type(capsys, monkeypatch, name):
    text = help_of(capsys, monkeypatch, name, 80)
    assert not re.search(r"<(list|str|int|float|path)", text)
    for option in (one for one in COMMANDS[name].params if one.param_type_name == "option"):
        for way in option.opts:
            assert re.search(rf"(^|\s){re.escape(way)}[\s,]", text)


def test_the_first_words_of_every_command_are_whole(capsys, monkeypatch):
    text = " ".join(help_of(capsys, monkeypatch, "", 80).split())
    for name in GROUP.commands:
        first = GROUP.commands[name].help.split("\n\n")[0]
        assert f"{name} {' '.join(first.split())}" in text


# ---------------------------------------------------------------- python -m t2ikit


@pytest.mark.parametrize("words", [["--help"], ["nonsense"], ["sample"], ["options", "unett"], ["--version"]])
def test_python_m_is_the_command(words):
    [script] = entry_points(group="console_scripts", name="t2ikit")
    assert script.value == "t2ikit.cli:main"
    as_script = "import sys; from t2ikit.cli import main; sys.argv[0] = '/bin/t2ikit'; sys.exit(main())"
    results = [
        subprocess.run([sys.executable, *start, *words], capture_output=True, text=True, check=False)
        for start in (["-m", "t2ikit"], ["-c", as_script])
    ]
    first, second = ((result.returncode, result.stdout, result.stderr) for result in results)
    assert first == second
    assert "__main__" not in first[1] + first[2]
    assert "python" not in first[1] + first[2]


# ---------------------------------------------------------------- completion


def complete(line: str, cwd) -> tuple[list[str], str]:
    """What bash is given for a line that ends where the cursor is, and the heavy modules that were loaded."""
    code = (
        "import sys, atexit\nfrom t2ikit.cli import main\n"
        "heavy = ('torch', 'numpy', 'PIL', 'transformers', 'rich')\n"
        "status = main([])\n"
        "print(*[name for name in heavy if name in sys.modules], file=sys.stderr)\n"
    )
    words = line.split(" ")
    environment = {
        **os.environ,
        "_T2IKIT_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True, check=True
    )
    return sorted(result.stdout.split()), result.stderr.strip()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("t2ikit tr", {"train"}),
        ("t2ikit train --plugin im", {"imagen"}),
        ("t2ikit train --recipe imagen/imagen-64-", {"imagen/imagen-64-v", "imagen/imagen-64-t5"}),
        ("t2ikit sample runs", {"runs/imagen-001"}),
        ("t2ikit evaluate runs/imagen-001 --metrics colours,nei", {"colours,neighbours"}),
        ("t2ikit train --set train.st", {"train.steps="}),
        ("t2ikit sample --samp", {"--sampler"}),
    ],
)
def test_the_shell_completes_names_and_loads_nothing_heavy(tmp_path, line, expected):
    run = tmp_path / "runs" / "imagen-001"
    run.mkdir(parents=True)
    (run / "recipe.toml").touch()
    assert complete(line, tmp_path) == (sorted(expected), "")


def test_what_is_completed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "dpm++" in completion.sampler_names("")
    assert completion.exporter_names("") == ["diffusers", "if"]
    assert {"creatures", "openmoji"} <= set(completion.data_specs(""))
    assert {"train", "imagen/unet"} <= set(completion.part_names(""))
    assert completion.plugin_names("") == ["gigagan", "imagen"]
    assert completion.run_folders("") == []
    assert "colours,fid" in completion.metric_names("colours,")
    assert "colours,colours" not in completion.metric_names("colours,")


def test_every_completion_belongs_to_a_parameter():
    parameters = {f"{name}.{one.name}" for name in NAMES for one in COMMANDS[name].params}
    plain = {parameter.partition(".")[2] for parameter in parameters}
    assert all(name in (parameters if "." in name else plain) for name in completion.COMPLETIONS)


@pytest.mark.skipif(sys.platform == "win32", reason="needs bash")
def test_completion_can_be_installed(tmp_path):
    environment = {**os.environ, "HOME": str(tmp_path), "SHELL": "/bin/bash"}
    program = f"{shlex.quote(sys.executable)} -m t2ikit"
    command = f"{program} --install-completion bash; {program} --show-completion bash"
    result = subprocess.run(
        ["bash", "-c", f"{command}; true"],
        env={**environment, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    script = (tmp_path / ".bash_completions" / "t2ikit.sh").read_text()
    assert "complete" in script
    assert "_T2IKIT_COMPLETE=complete_bash" in script
    assert script.strip() in result.stdout
