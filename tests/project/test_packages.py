"""Third-party packages as wheels, beside a wheel of t2ikit in an environment outside the clone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from test_resume import IMAGEN

from conftest import TOYS
from t2ikit.registry.scaffold.scaffold import new_package

ROOT = Path(__file__).parents[2]
EXAMPLES = [f"t2ikit-{name}" for name in ("clocks", "dit", "heun", "huber", "spectrum", "tv")]
PACKAGES = [ROOT, *(ROOT / "examples" / name for name in EXAMPLES)]
SHORT = [word for setting in [*IMAGEN, "train.steps=2"] for word in ("--set", setting)]


class Environment:
    """A bare virtual environment with the wheels.

    What they depend on (torch is large) is found in the environment of this interpreter, through a .pth file.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        wheels = folder / "wheels"
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
        new = new_package("my-loss", "loss", folder)
        sources = [str(package) for package in [*PACKAGES, new]]
        build = [
            *pip,
            "wheel",
            "-q",
            "--no-deps",
            "--no-build-isolation",
            "-w",
            wheels,
        ]  # by the hatchling here
        subprocess.run([*build, *sources], check=True)
        venv.create(folder / "venv", with_pip=False)
        self.python = folder / "venv" / "bin" / "python"
        ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
        self.site = Path(subprocess.check_output([self.python, "-c", ask], text=True).strip())
        # The path of the dependencies alone: the editable t2ikit there needs its own .pth, which is not read.
        (self.site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
        install = [*pip, "--python", self.python, "install", "-q", "--no-deps", "--ignore-installed"]
        subprocess.run([*install, *sorted(wheels.glob("*.whl"))], check=True)

    def run(self, *words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.python, *map(str, words)],
            cwd=self.folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=300,
        )


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    return Environment(tmp_path_factory.mktemp("wheels"))


@pytest.mark.slow
def test_the_wheel_is_used_and_not_the_clone(environment):
    result = environment.run(
        "-c", "import t2ikit, t2ikit_imagen; print(t2ikit.__file__, t2ikit_imagen.__file__)"
    )
    assert all(path.startswith(str(environment.site)) for path in result.stdout.split()), result


@pytest.mark.slow
def test_the_wheel_holds_what_is_not_python(environment):
    site, source = environment.site, ROOT / "src"
    for package in ("t2ikit", "t2ikit_imagen", "t2ikit_gigagan"):
        assert (site / package / "py.typed").is_file()
    for folder in ("packaged", "watching/page", "registry/scaffold/templates", "distillation/recipes"):
        files = [path for path in (source / "t2ikit" / folder).rglob("*") if path.is_file()]
        assert files
        assert [path for path in files if not (site / path.relative_to(source)).is_file()] == []


def contents(wheel: Path) -> dict[str, int]:
    """The checksums of a wheel's files."""
    with zipfile.ZipFile(wheel) as archive:
        return {one.filename: one.CRC for one in archive.infolist()}


@pytest.mark.slow
def test_the_sdist_builds_the_same_wheel_and_both_pass_twine(environment, tmp_path):
    """As the release does; without isolation, by the hatchling of this environment."""
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path, ROOT]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,), (sdist,) = tmp_path.glob("*.whl"), tmp_path.glob("*.tar.gz")
    assert contents(wheel) == contents(environment.folder / "wheels" / wheel.name)
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff"} <= held
    check = [sys.executable, "-m", "twine", "check", "--strict", wheel, sdist]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_the_main_job_runs_from_the_wheel(environment):
    trained = environment.run("-m", "t2ikit", "train", "--plugin", "imagen", *SHORT, "--out", "main")
    assert trained.returncode == 0, trained.stderr
    words = ["sample", "creatures", "a green cat with red eyes", "-n", "1", "--out", "of-creatures"]
    sampled = environment.run("-m", "t2ikit", *words)
    assert sampled.returncode == 0, sampled.stderr
    made = [environment.folder / "main" / "checkpoints", environment.folder / "of-creatures" / "grid.png"]
    assert all(path.exists() for path in made)


TYPED = """
import t2ikit
from t2ikit import Batch, Draws, hookimpl

def loss(step: t2ikit.Step) -> float:
    return float(step.batch.images.mean())

run = t2ikit.train("imagen", set={"train.steps": 2})
reveal_type(run)
reveal_type(t2ikit.open_run)
t2ikit.nothing
t2ikit.open_run()
"""
"""A user's file, whose last two lines are wrong."""


@pytest.mark.slow
def test_a_user_s_type_checker_knows_the_lazy_names(environment):
    """Of what the wheel stands on nothing is read, which would take minutes."""
    others = [
        "torch",
        "transformers",
        "diffusers",
        "accelerate",
        "pydantic",
        "typer",
        "rich",
        "matplotlib",
        "numpy",
    ]
    skipped = "".join(f"[mypy-{name}.*]\nfollow_imports = skip\n" for name in others)
    config, file = environment.folder / "mypy.ini", environment.folder / "typed.py"
    config.write_text("[mypy]\nignore_missing_imports = true\n" + skipped)
    file.write_text(TYPED)
    words = ["--config-file", config, "--python-executable", environment.python, "--no-error-summary", file]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *map(str, words)],
        cwd=environment.folder,
        capture_output=True,
        text=True,
    )
    assert 'Revealed type is "t2ikit.runs.run.Run"' in done.stdout
    assert re.search(r'Revealed type is "def \(.*\) -> t2ikit.runs.run.Run"', done.stdout), done.stdout
    errors = re.findall(r"typed\.py:(\d+): error: .*\[([\w-]+)\]", done.stdout)
    last = TYPED.count("\n")
    assert errors == [(str(last - 1), "attr-defined"), (str(last), "call-arg")], done.stdout


@pytest.mark.slow
def test_the_packages_are_listed(environment):
    result = environment.run("-m", "t2ikit", "plugins")
    assert result.returncode == 0, result.stderr
    assert all(f"{name} 0.1.0" in result.stdout for name in [*EXAMPLES, "my-loss"])


@pytest.mark.slow
@pytest.mark.parametrize("package", [*EXAMPLES, "my-loss"])
def test_the_packages_pass_their_own_tests(environment, package):
    tests = ROOT / "examples" / package if package in EXAMPLES else environment.folder / package
    result = environment.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tests, tests)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["huber", "tv"])
def test_both_losses_train_the_denoiser(environment, loss):
    words = ["-m", "t2ikit", "train", "--plugin", "imagen", *SHORT, "--set", f"losses.{loss}.weight=0.1"]
    result = environment.run(*words, "--out", f"imagen-{loss}")
    assert result.returncode == 0, result.stderr
    assert f'"loss/{loss}"' in (environment.folder / f"imagen-{loss}" / "log.jsonl").read_text()


@pytest.mark.slow
def test_the_transformer_is_trained_and_distilled(environment):
    small = [
        "train.steps=2",
        "train.samples=1",
        "train.validation_images=2",
        "train.batch=2",
        "data.count=40",
    ]
    tiny = ["generator.width=16", "generator.heads=2", "generator.layers=1"]
    words = [word for setting in [*small, *tiny] for word in ("--set", setting)]
    result = environment.run("-m", "t2ikit", "train", "--plugin", "dit", *words, "--out", "dit")
    assert result.returncode == 0, result.stderr
    words = [word for setting in small[:4] for word in ("--set", setting)]
    result = environment.run("-m", "t2ikit", "distil", "dit", *words, "--out", "student")
    assert result.returncode == 0, result.stderr
    result = environment.run("-m", "t2ikit", "sample", "student", "a red cat", "--out", "images")
    assert result.returncode == 0, result.stderr
    assert (environment.folder / "images" / "grid.png").is_file()


@pytest.mark.slow
def test_the_image_loss_trains_the_gan_and_the_other_is_refused_with_the_reason(environment):
    words = ["-m", "t2ikit", "train", "--plugin", TOYS, "--recipe", "toys/gan", "--set", "train.steps=2"]
    result = environment.run(*words, "--set", "losses.tv.weight=0.1", "--out", "gan-tv")
    assert result.returncode == 0, result.stderr
    result = environment.run(*words, "--set", "losses.huber.weight=1", "--out", "gan-huber")
    assert result.returncode == 2
    assert "losses.huber" in result.stderr
    assert "a denoiser's prediction" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (environment.folder / "gan-huber" / "checkpoints").exists()
