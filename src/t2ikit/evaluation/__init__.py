"""Measures runs: sample images, compute metrics, sweep options, compare runs."""
