"""A second-order sampler (Heun, as in EDM), for t2ikit."""
