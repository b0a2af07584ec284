"""Config classes: TOML and settings in, checks whose errors name file and key, and help out of them."""

from typing import TYPE_CHECKING

from t2ikit.utils.moved import old_names

if not TYPE_CHECKING:
    __getattr__ = old_names(__name__)  # of the module that had this folder's name
