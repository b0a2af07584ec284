"""Looks at a dataset before training: what is in it, what is wrong with it, and what to do."""
