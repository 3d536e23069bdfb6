#!/usr/bin/env bash
# A real chat model on real problems: SmolLM2-135M-Instruct imitates 128 worked solutions of GSM8K's training set (LoRA), samples 64
# training problems four times, OREO trains a LoRA policy and a LoRA critic on that log, and both are evaluated. About half an hour
# on two cores.
#     REASONING_DATA=DIR runs/gsm8k_smollm2.sh SmolLM2-135M-Instruct.Q4_1.gguf [OUT]
set -euo pipefail
cd "$(dirname "$0")/.."
model=${1:?usage: runs/gsm8k_smollm2.sh MODEL.gguf [OUT]} out=${2:-out/gsm8k-smollm2}
gsm8k=(--env math --env-args problems=gsm8k)
sample=(--max-new-tokens 192)

python -m rollouts.collect "${gsm8k[@]}" --split train --agent expert --episodes 128 --out "$out/demos.jsonl"
python -m algorithms.sft --env math --data "$out/demos.jsonl" --model "$model" --out "$out" --batch 16
python -m rollouts.collect "${gsm8k[@]}" --split train --agent "$out/sft" \
    --episodes 256 --samples 4 --temperature 0.5 "${sample[@]}" --out "$out/rollouts.jsonl"
python -m rollouts.trajectory validate "$out/rollouts.jsonl"
python -m algorithms.oreo --env math --data "$out/rollouts.jsonl" --model "$out/sft" --out "$out" --batch 16 --epochs 0.25
for agent in sft oreo; do
    python -m rollouts.evaluate "$out/$agent" "${gsm8k[@]}" --split test --episodes 16 "${sample[@]}" --json "$out/$agent.json"
done
