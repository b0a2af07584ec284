"""`python -m t2ikit`, which is also what `accelerate launch -m t2ikit` runs."""

from __future__ import annotations

import os
import sys


def _forget_working_folder() -> None:
    """Take off the path the working folder that `python -m` puts there.

    It may be a folder of somebody's data: a plugin lying in it is neither installed nor named on the command
    line, and must not run.
    """
    safe = getattr(sys.flags, "safe_path", False)
    if not safe and sys.path and os.path.abspath(sys.path[0]) == os.getcwd():
        del sys.path[0]


if __name__ == "__main__":
    _forget_working_folder()
    from t2ikit.cli import main

    sys.exit(main())
