"""A small diffusion transformer for t2ikit."""
