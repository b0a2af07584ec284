"""Training: the loop over players, and all that happens between its steps."""

from typing import TYPE_CHECKING

from t2ikit.utils.moved import old_names

if not TYPE_CHECKING:
    __getattr__ = old_names(__name__)  # of the module that had this folder's name
