#!/usr/bin/env bash
# The main job on generated word problems, five seeds, and the table of docs/results/math.md. About three quarters of an hour on two cores.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-out}
for seed in 0 1 2 3 4; do
    python -m algorithms.oreo --env math --seed "$seed" --out "$out/oreo-math-$seed"
done
python -m benchmarks.seeds "$out"/oreo-math-{0,1,2,3,4}
