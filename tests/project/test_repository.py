"""What makes it a repository that others can join: workflows, forms, versions, extras, citation."""

from __future__ import annotations

import importlib.util
import re
import shlex
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest
import tomlkit
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import t2ikit
from t2ikit.cli import app

ROOT = Path(__file__).parents[2]
PROJECT = tomlkit.parse((ROOT / "pyproject.toml").read_text(encoding="utf-8")).unwrap()["project"]
EXTRAS = PROJECT["optional-dependencies"]
FLOWS = {path.stem: path for path in (ROOT / ".github" / "workflows").glob("*.yml")}
FORMS = [path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config"]


def read(path: Path) -> dict:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def steps(flow: dict) -> list[dict]:
    return [step for job in flow["jobs"].values() for step in job["steps"]]


def commands(flow: dict) -> list[list[str]]:
    lines = [line for step in steps(flow) for line in step.get("run", "").splitlines()]
    return [shlex.split(line) for line in lines]


def test_the_python_versions_are_those_of_the_classifiers():
    said = {one.rpartition(" :: ")[2] for one in PROJECT["classifiers"] if " :: Python :: 3." in one}
    matrix = read(FLOWS["ci"])["jobs"]["quick"]["strategy"]["matrix"]
    assert set(matrix["python"]) == said
    assert min(said, key=Version) == PROJECT["requires-python"].removeprefix(">=")
    left_out = [(one["os"], one["python"]) for one in matrix["exclude"]]
    whole = next(step for step in read(FLOWS["ci"])["jobs"]["all"]["steps"] if "with" in step)
    assert left_out == [("ubuntu-latest", whole["with"]["python-version"])]


@pytest.mark.parametrize("name", FLOWS)
def test_actions_are_pinned_and_rights_are_few(name):
    flow = read(FLOWS[name])
    used = [step["uses"] for step in steps(flow) if "uses" in step]
    assert used
    assert [one for one in used if not re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", one)] == []
    assert len(re.findall(r"@[0-9a-f]{40} # v\d+\.\d+\.\d+$", FLOWS[name].read_text(), re.MULTILINE)) == len(
        used
    )
    assert flow["permissions"] == {"contents": "read"}
    assert all(job["timeout-minutes"] <= 90 for job in flow["jobs"].values())


@pytest.mark.parametrize("name", FLOWS)
def test_what_workflows_run_is_there(name):
    flow = read(FLOWS[name])
    for program, *words in commands(flow):
        if program.startswith("."):
            assert (ROOT / program).stat().st_mode & 0o111
        elif program == "pytest":
            assert [one for one in words if one.startswith("tests/") and not (ROOT / one).exists()] == []
        elif program == "t2ikit":
            assert words[0] in {command.name for command in app.registered_commands}
        elif program == "mkdocs":
            continue
        else:
            assert program in {"pip", "python", "twine", "test"}, program
    extras = re.findall(r'"\.\[(\w+)\]"', FLOWS[name].read_text())
    assert name != "docs" or (ROOT / "mkdocs.yml").exists() <= (extras[0] in EXTRAS)
    assert name == "docs" or set(extras) <= set(EXTRAS)


def test_a_release_is_built_once_and_published_by_trust():
    jobs = read(FLOWS["publish"])["jobs"]
    assert [line for line in commands({"jobs": jobs}) if "build" in line[1:]] == [
        ["pip", "install", "build", "twine"],
        ["python", "-m", "build"],
    ]
    assert jobs["publish"]["needs"] == "build"
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert "permissions" not in jobs["build"]
    assert "secrets." not in FLOWS["publish"].read_text()


def test_the_site_is_uploaded_from_where_it_is_built():
    steps = read(FLOWS["docs"].with_suffix(".yml"))["jobs"]["build"]["steps"]
    [uploaded] = [step["with"]["path"] for step in steps if "upload-pages-artifact" in step.get("uses", "")]
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert re.findall(r"^site_dir: (.+)$", settings, re.MULTILINE) == [uploaded.rstrip("/")]


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_forms_ask_for_something(path):
    form = read(path)
    assert {"name", "description", "body"} <= set(form)
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    names = [field["id"] for field in fields]
    assert len(set(names)) == len(names) >= 2
    assert any(field.get("validations", {}).get("required") for field in fields)
    assert all(field["attributes"]["label"] for field in fields)


def test_dependabot_and_the_hooks_name_what_is_used():
    kinds = {one["package-ecosystem"] for one in read(ROOT / ".github" / "dependabot.yml")["updates"]}
    assert kinds == {"github-actions", "pip"}
    hooks = [hook for repo in read(ROOT / ".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    needed = {Requirement(line).name for line in EXTRAS["test"]}
    assert {hook["entry"].split()[0] for hook in hooks} == {"ruff", "mypy"} <= needed


def test_the_version_is_one():
    cited = read(ROOT / "CITATION.cff")
    assert cited["version"] == PROJECT["version"] == t2ikit.__version__
    assert cited["license"] == PROJECT["license"]
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    released = re.findall(r"^## \[(\d\S*)\]", changes, re.MULTILINE)
    assert released[0] == PROJECT["version"]
    assert released == sorted(released, key=Version, reverse=True)


def lock():
    loader = SourceFileLoader("lock", str(ROOT / ".ci" / "lock"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("lock", loader))
    loader.exec_module(module)
    return module


def test_the_constraints_are_what_the_tests_need():
    """Renewed by `python .ci/lock > constraints.txt`."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    direct = [one for one in lock().direct() if not canonicalize_name(one.name).startswith("torch")]
    assert len(direct) > 30
    missing = [str(one) for one in direct if pinned.get(canonicalize_name(one.name)) is None]
    assert missing == []
    assert [str(one) for one in direct if pinned[canonicalize_name(one.name)] not in one.specifier] == []
    assert not [name for name in pinned if name.startswith(lock().LEFT_OUT)]


def test_the_table_of_extras_is_that_of_the_package():
    page = (ROOT / "docs" / "getting-started.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| `([\w-]+)` \| (.+?) \| (.+?) \|$", page, re.MULTILINE)
    assert [name for name, _, _ in table] == list(EXTRAS)
    for name, brings, _ in table:
        if name != "test":
            assert re.findall(r"`([^`]+)`", brings) == [Requirement(line).name for line in EXTRAS[name]]
