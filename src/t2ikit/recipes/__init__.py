"""Recipes: read, laid over one another, checked, and built into parts."""
