"""A run whose plugin is not here: what must be installed is named, in the error and in an export's card."""

from __future__ import annotations

import pytest

from t2ikit import UserError
from t2ikit.errors import UserErrors
from t2ikit.registry import Plugin, Registry
from t2ikit.run_plugins import absent, check_present, check_same_files

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
