"""Helpers that know nothing of models: files, messages, devices, grids of images, the Hub."""
