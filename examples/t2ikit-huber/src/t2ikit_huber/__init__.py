"""A Huber loss for t2ikit."""
