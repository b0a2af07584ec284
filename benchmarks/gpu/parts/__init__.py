"""The parts of `benchmarks/gpu.sh`: each has `measure(bench)`."""
