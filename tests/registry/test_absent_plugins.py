"""A run whose plugin is not here: what must be installed is named, in the error and in an export's card."""

from __future__ import annotations

import json
import shutil

import pytest
from test_super_resolution import DENOISER, TINY

from t2ikit import UserError, open_run
from t2ikit.cli import main
from t2ikit.errors import UserErrors
from t2ikit.evaluation.data import evaluation_data
from t2ikit.exporters.export import export
from t2ikit.recipes.read import read_recipe
from t2ikit.registry.registry import Plugin, Registry
from t2ikit.runs.plugins import absent, check_present, check_same_files
from t2ikit.training.start import start_run
from t2ikit_imagen.pipeline import ImagenPipeline

BLUR = {"name": "blur", "origin": "t2ikit-blur 1.2", "sha256": None}
FILE = {"name": "toys", "origin": "my toys.py", "sha256": "abc"}
CORE = {"name": "imagen", "origin": "t2ikit 0.1.0", "sha256": None}


@pytest.mark.parametrize(
    ("plugin", "expected", "fix"),
    [
        (BLUR, "t2ikit-blur 1.2", "`pip install t2ikit-blur==1.2`"),
        ({**BLUR, "origin": "blur.plugin"}, "blur.plugin", "install the package with the module blur.plugin"),
        (FILE, "the plugin file my toys.py (SHA-256 abc)", "add --plugin 'PATH/my toys.py'"),
        ({**CORE, "name": "later"}, "t2ikit 0.1.0", "install t2ikit 0.1.0, from its source"),
    ],
)
def test_what_must_be_installed_is_named(plugin, expected, fix):
    with pytest.raises(
        UserError, match=f"run was made with plugin '{plugin['name']}', which is not here"
    ) as error:
        check_present("run", [CORE, plugin], Registry.load())
    assert (error.value.expected, error.value.got, error.value.fix) == (
        expected,
        "no such plugin loaded",
        fix,
    )


def test_all_that_must_be_installed_is_named_at_once():
    with pytest.raises(UserErrors, match="run was made with plugins that are not here") as error:
        check_present("run", [BLUR, CORE, FILE], Registry.load())
    assert len(error.value.errors) == 2
    assert "t2ikit-blur==1.2" in str(error.value)
    assert "my toys.py" in str(error.value)


def test_one_that_does_not_work_says_why():
    registry = Registry.load()
    registry.plugins["blur"] = Plugin("blur", "t2ikit-blur 1.3", error="ImportError: no module named cv2")
    assert absent([BLUR, CORE], registry) == [BLUR]
    with pytest.raises(UserError, match="which cannot be used here") as error:
        check_present("run", [BLUR], registry)
    assert error.value.got == "ImportError: no module named cv2"
    assert "t2ikit-blur==1.2" in error.value.fix


def test_plugins_that_are_here_are_no_error():
    check_present("run", [CORE], Registry.load())
    check_same_files("run", [CORE, BLUR], Registry.load())


# ---------------------------------------------------------------- runs and exports


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run and its export."""
    folder = tmp_path_factory.mktemp("made")
    settings = [*TINY, "data.size=16", "sampler.steps=2", *DENOISER]
    start_run(
        Registry.load(), read_recipe(Registry.load(), "imagen/default", settings=settings), folder / "run"
    )
    export(folder / "run", "diffusers", out=folder / "exported")
    return folder


@pytest.fixture
def without_imagen(monkeypatch):
    """An installation without the plugin imagen, which came in a distribution of its own."""
    whole = Registry.load

    def load(requested=()):
        registry = whole(requested)
        del registry.plugins["imagen"]
        for kind, entries in registry._entries.items():
            registry._entries[kind] = [entry for entry in entries if entry.plugin != "imagen"]
        return registry

    monkeypatch.setattr(Registry, "load", load)


def of_blur(folder, file):
    """What would be written had imagen been in the distribution t2ikit-blur."""
    path = folder / file
    whole = json.loads(path.read_text())
    for plugin in whole["recipe"]["plugins"] if "recipe" in whole else whole["plugins"]:
        if plugin["name"] == "imagen":
            plugin["origin"] = "t2ikit-blur 1.2"
    path.write_text(json.dumps(whole))


@pytest.mark.parametrize("name", ["run", "exported"])
def test_a_run_and_its_export_name_the_distribution(made, tmp_path, without_imagen, capsys, name):
    shutil.copytree(made / name, tmp_path / name)
    of_blur(tmp_path / name, "run.json")
    assert main(["sample", str(tmp_path / name), "a cat"]) == 2
    error = capsys.readouterr().err
    assert "was made with plugin 'imagen', which is not here" in error
    assert "expected: t2ikit-blur 1.2" in error
    assert "`pip install t2ikit-blur==1.2`" in error


def test_a_pipeline_names_the_distribution(made, tmp_path, without_imagen):
    shutil.copytree(made / "exported", tmp_path / "exported")
    of_blur(tmp_path / "exported", "model_index.json")
    with pytest.raises(UserError, match="exported was made with plugin 'imagen'") as error:
        ImagenPipeline.from_pretrained(tmp_path / "exported")
    assert error.value.fix == "`pip install t2ikit-blur==1.2`"


@pytest.mark.parametrize("plugins", [3, [3], [{}], [{"name": "imagen"}], {}])
def test_a_damaged_list_of_plugins_is_passed_over(made, tmp_path, plugins):
    shutil.copytree(made / "exported", tmp_path / "exported")
    index = json.loads((tmp_path / "exported" / "model_index.json").read_text())
    index["recipe"]["plugins"] = plugins
    (tmp_path / "exported" / "model_index.json").write_text(json.dumps(index))
    ImagenPipeline.from_pretrained(tmp_path / "exported")("a cat")


def test_data_of_a_plugin_that_is_not_here_names_it(made):
    run = open_run(made / "run")
    run.info["plugins"].append(BLUR)
    run.table["data"]["spec"] = "blurred"
    with pytest.raises(UserError, match="was made with plugin 'blur'") as error:
        evaluation_data(run, Registry.load(), None)
    assert error.value.fix == "`pip install t2ikit-blur==1.2`"
    with pytest.raises(UserError, match="there is no such dataset"):
        evaluation_data(run, Registry.load(), "blurred")


def test_a_part_of_a_plugin_that_is_not_here_says_so():
    with pytest.raises(UserError, match="no generator called 'blur/unet'") as error:
        Registry.load().find("generators", "blur/unet")
    assert "install the plugin blur, which is not here" in error.value.fix
    with pytest.raises(UserError) as error:
        Registry.load().find("generators", "imagen/unett")
    assert "install" not in error.value.fix
