"""What `benchmarks/gpu.sh` measures: each part is a module of `parts`."""
