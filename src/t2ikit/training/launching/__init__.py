"""How the kernels of a training step are launched: by Python, compiled, or as one CUDA graph."""
