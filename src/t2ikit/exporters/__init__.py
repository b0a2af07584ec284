"""Writes a run in formats that other programs open: diffusers pipelines with a model card."""
