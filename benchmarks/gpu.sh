#!/usr/bin/env bash
# Measures t2ikit on a GPU: `benchmarks/gpu.sh [PART ...] [--budget SECONDS]`; docs/gpu.md explains it.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
export PYTHONPATH="$root/benchmarks:$root/src:$root/plugins${PYTHONPATH:+:$PYTHONPATH}"
exec python3 -m gpu "$@"
