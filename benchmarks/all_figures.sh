#!/usr/bin/env bash
# Measures every figure of README.md and docs/ again: `benchmarks/all_figures.sh [--list] [--only A,B] [--out DIR]`.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
export PYTHONPATH="$root/benchmarks:$root/src:$root/plugins${PYTHONPATH:+:$PYTHONPATH}"
exec python -m figures "$@"
