"""A total-variation loss for t2ikit."""
