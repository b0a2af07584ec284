"""A new run from the weights of another: its recipe, and what of the weights fits."""
