"""Training: the loop over players, and all that happens between its steps."""
