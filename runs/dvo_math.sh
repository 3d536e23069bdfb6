#!/usr/bin/env bash
# DVO on word problems, as in the paper but small: trees of the start model, credits from them, training, evaluation. Without MODEL
# the start is the tiny model after SFT on worked solutions; with one (a chat model) it is that model after the format stage: few-shot
# samples, put under the zero-shot prompt, of which it learns the correct ones. Every stage that is done is not done again.
#     runs/dvo_math.sh [OUT [MODEL]]
# By environment variable, with their defaults: TASKS=150 (training tasks), ROUNDS=1, TREE="--shrink 1" (options of rollouts.tree),
# EVAL=500 (test tasks), ENV_ARGS="" (such as problems=gsm8k).
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-out/dvo-math} model=${2:-} tasks=${TASKS:-150} rounds=${ROUNDS:-1}
read -ra args <<<"${ENV_ARGS:-}"
read -ra tree <<<"${TREE:---shrink 1}"
sample=(--max-new-tokens 256)

if [[ $model ]]; then
    zero=(prompt=dvo "${args[@]}") few=(prompt=dvo-few-shot "${args[@]}")
    python -m rollouts.collect --env math --env-args "${few[@]}" --split train --agent "$model" \
        --episodes $((tasks * 8)) --samples 8 "${sample[@]}" --out "$out/few.jsonl"
    python -m rollouts.collect --env math --env-args "${zero[@]}" --split train --agent "$out/few.jsonl" --out "$out/format.jsonl"
    python -m algorithms.rejection --env math --data "$out/format.jsonl" --model "$model" --per-task 4 --lr 2e-4 --out "$out"
    start=$out/rejection
else
    zero=(prompt=plain "${args[@]}")
    python -m rollouts.collect --env math --env-args "${zero[@]}" --split train --agent expert --episodes 3000 --out "$out/demos.jsonl"
    python -m algorithms.sft --env math --data "$out/demos.jsonl" --out "$out"
    start=$out/sft
fi

task=(--env math --env-args "${zero[@]}")
evaluate() {
    python -m rollouts.evaluate "$1" "${task[@]}" --split test --episodes "${EVAL:-500}" --temperature 1 "${sample[@]}" --json "$1.json" --log "$1-test.jsonl"
}
evaluate "$start"
for ((round = 1; round <= rounds; round++)); do # each with trees of the model that the one before left, on other samples
    python -m rollouts.tree "${task[@]}" --split train --agent "$start" --tasks "$tasks" --seed "$round" \
        "${tree[@]}" "${sample[@]}" --out "$out/round-$round/tree.jsonl"
    python -m algorithms.dvo --env math --data "$out/round-$round/tree.jsonl" --model "$start" \
        --seed "$round" --out "$out/round-$round"
    start=$out/round-$round/dvo
    evaluate "$start"
done
