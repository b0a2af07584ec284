"""Frozen text encoders, the cache of their embeddings, and the words a run has seen."""
