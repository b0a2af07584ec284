"""Writes the package of a new plugin from templates, one folder for each kind of part."""
