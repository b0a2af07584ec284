"""The plugin registry: loading, names, conflicts, and what it says of broken plugins."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

from t2ikit import LossSpec, UserError
from t2ikit.registry.loading import HOOKS
from t2ikit.registry.registry import Registry
from t2ikit.registry.specs import KINDS

LOSSES = """
from t2ikit import LossSpec, hookimpl

@hookimpl
def t2ikit_losses():
    return [{specs}]
"""


def loss_source(*names: str) -> str:
    return LOSSES.format(
        specs=", ".join(f"LossSpec({name!r}, lambda config, context: None)" for name in names)
    )


RECIPE = """
from pathlib import Path
from t2ikit import RecipeSpec, hookimpl

@hookimpl
def t2ikit_recipes():
    return [RecipeSpec("default", Path(__file__).with_name("r.toml"))]
"""


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder on the path in which distributions can be installed."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


def install(
    folder: Path, distribution: str, entry: str, source: str, *, module: str = "", attr: str = ""
) -> None:
    module = module or "t2ikit_test_" + distribution.replace("-", "_")
    sys.modules.pop(module, None)
    (folder / f"{module}.py").write_text(source)
    info = folder / f"{distribution.replace('-', '_')}-1.5.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.5\n")
    (info / "entry_points.txt").write_text(f"[t2ikit]\n{entry} = {module}{attr}\n")


def write(tmp_path: Path, name: str, source: str) -> str:
    path = tmp_path / name
    path.write_text(source)
    return str(path)


def refused(*requested: str) -> str:
    with pytest.raises(UserError) as caught:
        Registry.load(requested)
    return str(caught.value)


# ---------------------------------------------------------------- installed plugins


def test_every_kind_has_a_hook_and_built_ins_are_there():
    assert {f"t2ikit_{kind.kind}" for kind in KINDS} <= set(HOOKS)
    registry = Registry.load()
    entry = registry.find("datasets", "creatures")
    assert entry == registry.find("datasets", "t2ikit/creatures")
    assert entry.canonical == "t2ikit/creatures"
    assert entry.origin.startswith("t2ikit ")
    assert registry.requested == ()


def test_an_installed_plugin_is_found_by_short_and_canonical_name(site):
    install(site, "dist-a", "alpha", loss_source("soft"))
    registry = Registry.load(["alpha", "alpha"])
    assert registry.requested == ("alpha",)
    entry = registry.find("losses", "soft")
    assert entry == registry.find("losses", "alpha/soft")
    assert (entry.plugin, entry.origin) == ("alpha", "dist-a 1.5")
    assert isinstance(entry.spec, LossSpec)
    assert (registry.plugins["alpha"].sha256, registry.plugins["alpha"].path) == (None, None)


def test_a_name_in_two_plugins_is_ambiguous_and_both_are_named(site):
    install(site, "dist-a", "alpha", loss_source("soft"))
    install(site, "dist-b", "beta", loss_source("soft"))
    registry = Registry.load()
    with pytest.raises(UserError) as caught:
        registry.find("losses", "soft")
    for part in ("dist-a 1.5", "dist-b 1.5", "alpha/soft", "beta/soft"):
        assert part in str(caught.value)
    assert registry.find("losses", "beta/soft").plugin == "beta"


def test_unknown_names_get_suggestions_other_kinds_and_broken_plugins(site):
    install(site, "dist-a", "alpha", loss_source("softness"))
    registry = Registry.load()
    with pytest.raises(UserError, match="did you mean 'softness'"):
        registry.find("losses", "softnes")
    with pytest.raises(UserError, match="did you mean 'alpha/softness'"):
        registry.find("losses", "alpha/softnes")
    with pytest.raises(UserError, match="alpha/softness is a loss, not a sampler"):
        registry.find("samplers", "softness")
    install(site, "dist-b", "beta", "import no_such_module_at_all\n")
    with pytest.raises(UserError, match="may be in the plugin beta"):
        Registry.load().find("losses", "sharp")


def test_two_distributions_with_one_plugin_name_both_lose(site):
    install(site, "dist-a", "alpha", loss_source("one"))
    install(site, "dist-b", "alpha", loss_source("two"))
    registry = Registry.load()
    assert "dist-a 1.5 and dist-b 1.5 both" in registry.plugins["alpha"].error
    assert not [entry for entry in registry.entries("losses") if entry.plugin == "alpha"]
    assert "dist-b 1.5" in refused("alpha")


def test_one_distribution_twice_on_the_path_counts_once(site, tmp_path, monkeypatch):
    second = tmp_path / "site2"
    second.mkdir()
    install(site, "dist-a", "alpha", loss_source("one"))
    install(second, "dist-a", "alpha", loss_source("one"))
    monkeypatch.syspath_prepend(str(second))
    registry = Registry.load(["alpha"])
    assert registry.plugins["alpha"].error is None
    assert [e.spec.name for e in registry.entries("losses") if e.plugin == "alpha"] == ["one"]


def test_the_name_of_the_core_cannot_be_taken(site):
    install(site, "dist-a", "t2ikit", loss_source("one"))
    registry = Registry.load()
    assert "taken by the core" in registry.plugins["t2ikit (dist-a 1.5)"].error
    assert registry.plugins["t2ikit"].error is None


def test_two_names_for_one_module(site):
    install(site, "dist-a", "alpha", loss_source("one"), module="t2ikit_test_shared")
    install(site, "dist-b", "beta", loss_source("one"), module="t2ikit_test_shared")
    registry = Registry.load()
    assert registry.plugins["alpha"].error is None
    assert "is the plugin alpha too" in registry.plugins["beta"].error


# ---------------------------------------------------------------- what can be wrong with a plugin

BROKEN = {
    "import": ("import no_such_module_at_all\n", ["ModuleNotFoundError", "no_such_module_at_all", ":1)"]),
    "syntax": ("x = 1\ndef f(:\n", ["SyntaxError", ":2)"]),
    "raise": ("\n\nraise RuntimeError('first\\nsecond')\n", ["RuntimeError: first (", ":3)"]),
    "exit": ("import sys\nsys.exit('bye')\n", ["SystemExit: bye"]),
    "misspelled": (
        "from t2ikit import hookimpl\n@hookimpl\ndef t2ikit_loses():\n    return []\n",
        ["no hook t2ikit_loses", "did you mean 't2ikit_losses'"],
    ),
    "undecorated": ("def t2ikit_losses():\n    return []\n", ["t2ikit_losses lacks the decorator @hookimpl"]),
    "none": ("x = 1\n", ["implements no hook"]),
    "arguments": (
        "from t2ikit import hookimpl\n@hookimpl\ndef t2ikit_losses(config):\n    return []\n",
        ["t2ikit_losses", "{'config'}", "can not be found in the hookspec"],
    ),
    "observer": (
        "from t2ikit import hookimpl\n@hookimpl\ndef t2ikit_step_end(run, loss):\n    pass\n",
        ["t2ikit_step_end", "{'loss'}", "can not be found in the hookspec"],
    ),
    "wrapper": (
        "from t2ikit import hookimpl\n@hookimpl(hookwrapper=True)\ndef t2ikit_losses():\n    return []\n",
        ["t2ikit_losses"],
    ),
    "hook raises": (
        "from t2ikit import hookimpl\n@hookimpl\ndef t2ikit_losses():\n    return [1 / 0]\n",
        ["t2ikit_losses: ZeroDivisionError", ":4)"],
    ),
    "not a list": (
        "from t2ikit import hookimpl\n@hookimpl\ndef t2ikit_losses():\n    return None\n",
        ["gave a NoneType, not a list of LossSpec"],
    ),
    "wrong spec": (
        "from t2ikit import SamplerSpec, hookimpl\n@hookimpl\ndef t2ikit_losses():\n"
        "    return [SamplerSpec('x', print)]\n",
        ["gave a SamplerSpec in its list, not a LossSpec"],
    ),
    "class": (
        "from t2ikit import LossSpec, hookimpl\n@hookimpl\ndef t2ikit_losses():\n    return [LossSpec]\n",
        ["the class LossSpec"],
    ),
    "twice": (loss_source("one", "one"), ["'one' twice among its losses"]),
    "name": (loss_source("a/b"), ["'a/b' is no name"]),
    "build": (
        "from t2ikit import LossSpec, hookimpl\n@hookimpl\ndef t2ikit_losses():\n"
        "    return [LossSpec('x', 3)]\n",
        ["build is a int, not a function"],
    ),
    "config": (
        "from t2ikit import LossSpec, hookimpl\n@hookimpl\ndef t2ikit_losses():\n"
        "    return [LossSpec('x', print, dict)]\n",
        ["derived from t2ikit.Config"],
    ),
    "dataset config": (
        "from t2ikit import Config, DatasetSpec, hookimpl\n@hookimpl\ndef t2ikit_datasets():\n"
        "    return [DatasetSpec('x', print, Config)]\n",
        ["derived from t2ikit.DatasetConfig"],
    ),
    "player": (
        "from t2ikit import LossSpec, hookimpl\n@hookimpl\ndef t2ikit_losses():\n"
        "    return [LossSpec('x', print, player='judge')]\n",
        ["player is 'judge'"],
    ),
    "needs": (
        "from t2ikit import LossSpec, hookimpl\n@hookimpl\ndef t2ikit_losses():\n"
        "    return [LossSpec('x', print, needs=frozenset({'targets'}))]\n",
        ["did you mean 'target'"],
    ),
    "needs text": (
        "from t2ikit import LossSpec, hookimpl\n@hookimpl\ndef t2ikit_losses():\n"
        "    return [LossSpec('x', print, needs='target')]\n",
        ["frozenset({'target'})"],
    ),
    "recipe": (RECIPE, ["default: there is no file", "r.toml"]),
}


@pytest.mark.parametrize(("source", "words"), BROKEN.values(), ids=BROKEN)
def test_a_broken_installed_plugin_is_skipped_until_asked_for(site, source, words):
    install(site, "dist-a", "alpha", source)
    install(site, "dist-b", "beta", loss_source("works"))
    registry = Registry.load(["beta"])
    error = registry.plugins["alpha"].error
    assert error is not None
    assert "\n" not in error
    for word in words:
        assert word in error
    assert registry.find("losses", "works").plugin == "beta"
    assert not [e for spec in KINDS for e in registry.entries(spec.kind) if e.plugin == "alpha"]
    assert "alpha" not in [implementation.plugin_name for implementation in _implementations(registry)]
    message = refused("alpha")
    for word in ["--plugin alpha", "dist-a 1.5", *words]:
        assert word in message


def _implementations(registry: Registry) -> list:
    return [one for name in HOOKS for one in getattr(registry.hook, name).get_hookimpls()]


@pytest.mark.parametrize(("source", "words"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_refused_at_once(tmp_path, source, words):
    before = set(sys.modules)
    message = refused(write(tmp_path, "mine.py", source))
    for word in ["mine.py", *words]:
        assert word in message
    assert len(message.splitlines()) == 1
    if words[0] in ("SyntaxError", "ModuleNotFoundError"):
        assert set(sys.modules) == before


def test_an_entry_point_must_name_a_module(site):
    install(site, "dist-a", "alpha", "class Plugin: pass\n", attr=":Plugin")
    assert "must name a module" in Registry.load().plugins["alpha"].error


def test_observers_of_working_plugins_are_called(tmp_path):
    source = "from t2ikit import hookimpl\nseen = []\n@hookimpl\ndef t2ikit_step_end(step):\n"
    source += "    seen.append(step)\n"
    registry = Registry.load([write(tmp_path, "watch.py", source)])
    registry.hook.t2ikit_step_end(run=tmp_path, step=7, scalars={})
    assert registry.plugins["watch"].module.seen == [7]


# ---------------------------------------------------------------- files


def test_a_file_plugin_has_path_hash_and_a_module_of_its_own(tmp_path):
    source = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom t2ikit import Config\n"
        + loss_source("soft")
        + "\nclass C(Config):\n    width: int = 3\n    '''how wide'''\n@dataclass\nclass D:\n    x: int = 1\n"
    )
    path = write(tmp_path, "mine.py", source)
    registry = Registry.load([path, path])
    plugin = registry.plugins["mine"]
    assert registry.requested == ("mine",)
    assert plugin.sha256 == hashlib.sha256(source.encode()).hexdigest()
    assert plugin.path == Path(path).resolve()
    assert sys.modules[plugin.module.__name__] is plugin.module
    assert plugin.module.C.model_fields["width"].description == "how wide"
    assert registry.find("losses", "mine/soft").origin == str(plugin.path)
    assert not list(tmp_path.glob("**/__pycache__"))


def test_two_files_of_one_name_do_not_mix(tmp_path):
    (tmp_path / "other").mkdir()
    first = write(tmp_path, "mine.py", loss_source("one"))
    second = write(tmp_path / "other", "mine.py", loss_source("two"))
    assert "'mine' is taken by" in refused(first, second)
    assert Registry.load([second]).find("losses", "two")


def test_a_file_named_like_an_installed_plugin(site, tmp_path):
    install(site, "dist-a", "alpha", loss_source("one"))
    assert "taken by dist-a 1.5: rename" in refused(write(tmp_path, "alpha.py", loss_source("two")))
    assert "taken by t2ikit" in refused(write(tmp_path, "t2ikit.py", loss_source("two")))


def test_files_that_are_none(tmp_path):
    assert "no such file" in refused(str(tmp_path / "none.py"))
    assert "a folder" in refused(str(tmp_path))
    assert "not a .py file" in refused(write(tmp_path, "a.txt", ""))
    assert "rename the file" in refused(write(tmp_path, "my loss.py", loss_source("one")))


def test_a_bare_name_never_runs_a_file(tmp_path, monkeypatch):
    write(tmp_path, "mine.py", "raise SystemExit('it ran')\n")
    monkeypatch.chdir(tmp_path)
    message = refused("mine")
    assert "no such plugin" in message
    assert "--plugin ./mine.py" in message
    assert "did you mean 'imagen'" in refused("imagn")


def test_the_name_of_a_package_hints_at_the_plugin_in_it(site, tmp_path, monkeypatch):
    install(site, "dist-edges", "edges", loss_source("one"))
    assert "the package dist_edges brings the plugin edges" in refused("dist_edges")
    project = tmp_path / "t2ikit-hues" / "pyproject.toml"
    project.parent.mkdir()
    project.write_text('[project.entry-points.t2ikit]\nhues = "t2ikit_hues"\n')
    monkeypatch.chdir(tmp_path)
    for typed in ("t2ikit-hues", "./t2ikit-hues"):
        message = refused(typed)
        assert "the name of the plugin in it, hues, once it is installed: pip install -e " in message
    for other in (
        "",
        "project = 'x'",
        "[project]\nentry-points = []",
        "[project.entry-points]\nt2ikit = 'abc'",
        "[",
    ):
        project.write_text(other)
        assert "there is no such plugin" in refused("t2ikit-hues")
        assert "cannot be loaded" in refused("./t2ikit-hues")
    assert "there is no such plugin" in refused("~nobody")


# ---------------------------------------------------------------- the default recipe


def test_default_recipe_of_the_one_requested_plugin_that_has_one(site, tmp_path):
    (site / "r.toml").write_text("")
    install(site, "dist-a", "alpha", RECIPE)
    install(site, "dist-b", "beta", RECIPE)
    extra = write(tmp_path, "extra.py", loss_source("one"))
    assert Registry.load([extra, "beta"]).default_recipe().canonical == "beta/default"
    for requested, words in (
        (["alpha", "beta"], ["each of alpha, beta has", "--recipe NAME", "alpha/default, beta/default"]),
        ([extra], ["extra has not", "alpha, beta", "--recipe NAME"]),
        ([], ["no plugin was named", "alpha, beta", "--plugin NAME"]),
    ):
        with pytest.raises(UserError) as caught:
            Registry.load(requested).default_recipe()
        for word in words:
            assert word in str(caught.value)


def test_a_recipe_s_short_name_is_that_of_the_plugin_asked_for():
    for plugin in ("imagen", "gigagan"):
        assert Registry.load([plugin]).find("recipes", "openmoji-32").canonical == f"{plugin}/openmoji-32"
    for requested in ([], ["imagen", "gigagan"]):
        with pytest.raises(UserError, match="ambiguous"):
            Registry.load(requested).find("recipes", "openmoji-32")
