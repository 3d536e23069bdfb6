#!/usr/bin/env bash
# A real chat model on real problems: SmolLM2-135M-Instruct samples 64 GSM8K training problems four times, OREO trains a LoRA policy
# and a LoRA critic on the log, and the checkpoint is evaluated. About half an hour on two cores.
#     REASONING_DATA=DIR runs/gsm8k_smollm2.sh SmolLM2-135M-Instruct.Q4_1.gguf [OUT]
set -euo pipefail
cd "$(dirname "$0")/.."
model=${1:?usage: runs/gsm8k_smollm2.sh MODEL.gguf [OUT]} out=${2:-out/gsm8k-smollm2}
ask=$'instruction=\nPlease reason step by step, and produce a final answer following 4 \'#\', like \'#### 0\'.'
gsm8k=(--env math --env-args problems=gsm8k "$ask")

python -m rollouts.collect "${gsm8k[@]}" --split train --agent "$model" \
    --episodes 256 --samples 4 --temperature 0.5 --max-new-tokens 256 --out "$out/rollouts.jsonl"
python -m rollouts.trajectory validate "$out/rollouts.jsonl"
python -m algorithms.oreo --env math --data "$out/rollouts.jsonl" --model "$model" --out "$out" --batch 8 --epochs 0.125
python -m rollouts.evaluate "$out/oreo" "${gsm8k[@]}" --split test --episodes 16 --max-new-tokens 256 --json "$out/oreo.json"
