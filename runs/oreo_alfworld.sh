#!/usr/bin/env bash
# The main job on generated ALFWorld games, five seeds, and the table of docs/results/alfworld.md. About three quarters of an hour on
# two cores. No download: whatever $ALFWORLD_DATA says, the games are generated ones.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-out}
for seed in 0 1 2 3 4; do
    python -m algorithms.oreo --env alfworld --games generated --seed "$seed" --out "$out/oreo-alfworld-$seed"
done
python -m benchmarks.seeds "$out"/oreo-alfworld-{0,1,2,3,4}
