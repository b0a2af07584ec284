"""Third-party packages as wheels, beside a wheel of t2ikit in an environment outside the clone."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
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
    """A virtual environment with the wheels; what they depend on is taken from this interpreter's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        wheels = folder / "wheels"
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
        new = new_package("my-loss", "loss", folder)
        sources = [str(package) for package in [*PACKAGES, new]]
        subprocess.run([*pip, "wheel", "-q", "--no-deps", "-w", wheels, *sources], check=True)
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
def test_the_wheel_says_that_it_is_typed(environment):
    for package in ("t2ikit", "t2ikit_imagen", "t2ikit_gigagan"):
        assert (environment.site / package / "py.typed").is_file()


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
