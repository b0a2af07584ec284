"""Datasets: captioned images read, checked, decoded once and loaded as batches."""
