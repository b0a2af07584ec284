"""Frozen text encoders and the trainable tower on top."""
