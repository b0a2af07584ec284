"""The parts of `benchmarks/equal_minutes.py`: what models get, the models, and how they are measured."""
