"""Every figure of README.md and docs/, and how it is measured: `benchmarks/all_figures.sh`."""
