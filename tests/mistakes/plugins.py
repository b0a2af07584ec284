"""Plugin files that cannot be used, and names that the listing commands do not know."""

from __future__ import annotations

from mistakes.case import Case, Prepare, files, mistake, sentence

HEAD = "from pathlib import Path\nfrom t2ikit import LossSpec, RecipeSpec, hookimpl\n@hookimpl\n"


def plugin(body: str, name: str = "mine.py") -> Prepare:
    """A plugin file in the working folder."""
    return files({name: body})


def broken(body: str, *says: str, name: str = "mine.py") -> Case:
    """A plugin file that `--plugin` refuses with a sentence."""
    return sentence(f"plugins --plugin ./{name}", f"--plugin ./{name}:", *says, before=plugin(body, name))


def losses(given: str) -> str:
    """The source of a plugin whose hook for losses gives this."""
    return f"{HEAD}def t2ikit_losses():\n    return {given}\n"


CASES = [
    mistake(
        "plugins --plugin ./gone.py", "./gone.py", expected="NAME.py", got="there is no such file", fix="path"
    ),
    mistake(
        "plugins --plugin ./mine.txt",
        "./mine.txt",
        expected="a Python file",
        got="not a .py file",
        before=files({"mine.txt": ""}),
    ),
    mistake(
        "plugins --plugin ./sub/", "./sub/", expected="NAME.py", got="a folder", before=files({"sub/x": ""})
    ),
    mistake(
        "plugins --plugin mine",
        "mine: there is no such plugin",
        expected="an installed plugin",
        got="mine",
        fix="--plugin ./mine.py",
        before=plugin(losses("[]")),
    ),
    broken("def f(:\n", "SyntaxError: invalid syntax", "mine.py:1"),
    broken("import nothing_like_it\n", "No module named 'nothing_like_it'", "mine.py:1"),
    broken("raise SystemExit(3)\n", "SystemExit: 3", "mine.py:1"),
    broken("x = 1\n", "it implements no hook", "@hookimpl"),
    broken("def t2ikit_losses():\n    return []\n", "t2ikit_losses lacks the decorator", "@hookimpl"),
    broken(f"{HEAD}def t2ikit_loses():\n    return []\n", "t2ikit_loses", "did you mean 't2ikit_losses'"),
    broken(
        f"{HEAD}def t2ikit_losses(config):\n    return []\n",
        "Argument(s) {'config'} are declared",
        "can not be found in the hookspec",
    ),
    broken(losses("LossSpec('a', print)"), "t2ikit_losses gave a LossSpec", "not a list of LossSpec"),
    broken(losses("[LossSpec('a', 3)]"), "a: build is a int", "not a function (config, context)"),
    broken(losses("[LossSpec('a', print), LossSpec('a', print)]"), "the name 'a' twice", "losses"),
    broken(losses("[LossSpec('a', print, needs={'critik'})]"), "needs has 'critik'", "mean 'critic'"),
    broken(
        losses("[LossSpec('a', print, player='critik')]"), "player is 'critik'", "'generator' or 'critic'"
    ),
    broken(
        f"{HEAD}def t2ikit_recipes():\n    return [RecipeSpec('a', Path('gone.toml'))]\n",
        "t2ikit_recipes: a",
        "there is no file gone.toml",
    ),
    broken(losses("[]"), "the name 'imagen' is taken", "rename the file", name="imagen.py"),
    mistake(
        "options unett", "'unett'", expected="a table of a recipe", got="unett", fix="did you mean 'unet'"
    ),
    mistake(
        "options generator:unet", "no kind of part called 'generator'", got="generator", fix="generators"
    ),
    mistake(
        "options losses:denoize", "no loss called 'denoize'", got="denoize", fix="did you mean 'denoise'"
    ),
    mistake(
        "recipes imagen/defalt", "'imagen/defalt'", got="imagen/defalt", fix="did you mean 'imagen/default'"
    ),
    sentence("options", "Missing argument", "t2ikit options --help"),
    sentence("nonsense", "No such command 'nonsense'", "t2ikit --help"),
]
