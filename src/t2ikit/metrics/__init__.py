"""The metrics: one a file, and what they share."""
