#!/usr/bin/env bash
# All learners on the same log from the same start: runs/compare.sh math 0 1 2 3 4, then the table. What is done is not done again.
set -euo pipefail
cd "$(dirname "$0")/.."
env=${1:?math or alfworld}
shift
seeds=("${@:-0}")
out=${OUT:-out/compare}
case $env in
math) splits=(test) tasks=500 tokens=128 trees=(--tasks 150 --iterations 80) ;;
alfworld) splits=(valid_seen valid_unseen) tasks=100 tokens=16 trees=(--tasks 60 --iterations 80 --depth 15) ;;
*) echo "unknown environment $env: wanted math or alfworld" >&2 && exit 2 ;;
esac
for seed in "${seeds[@]}"; do
    run=$out/$env-$seed
    python -m algorithms.oreo --env "$env" --seed "$seed" --out "$run" # demonstrations, sft, rollouts and oreo
    for learner in rejection dpo kto dro dqo; do
        python -m algorithms.$learner --env "$env" --data "$run/rollouts.jsonl" --model "$run/sft" --preset tiny --seed "$seed" --out "$run"
    done
    python -m rollouts.tree --env "$env" --agent "$run/sft" --split train --seed "$seed" "${trees[@]}" --max-new-tokens $tokens --out "$run/tree.jsonl"
    for learner in dvo step_dpo; do
        python -m algorithms.$learner --env "$env" --data "$run/tree.jsonl" --model "$run/sft" --preset tiny --seed "$seed" --out "$run"
    done
    for model in sft oreo rejection dpo kto dro dqo dvo step_dpo; do
        for split in "${splits[@]}"; do
            for temperature in 0 1; do
                python -m rollouts.evaluate "$run/$model" --env "$env" --split "$split" --episodes $tasks --temperature $temperature \
                    --max-new-tokens $tokens --parallel 128 --seed "$seed" --log "$run/compare/$split-$temperature/$model.jsonl"
            done
        done
    done
done
python benchmarks/compare.py "$out/$env"-*
