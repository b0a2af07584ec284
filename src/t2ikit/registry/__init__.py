"""Plugins: the specs and hooks they implement, how they are loaded and found by name."""
