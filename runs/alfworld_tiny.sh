#!/usr/bin/env bash
# The agent of pretrained/alfworld-tiny: 1.9 million parameters, from scratch, for ALFWorld's official games:
#     ALFWORLD_DATA=DIR runs/alfworld_tiny.sh [OUT]        about four hours on one core; goes on where it was stopped
# It imitates the text-only expert on generated and on official training games, with random moves as disturbances. Then, three times,
# it plays itself and the expert corrects it (DAgger), on tasks of all kinds and on those of two objects, where it errs most; it learns
# from what was corrected in all rounds, and from a third of what needed no correction. Fold 0/20 of the official training tasks is
# never trained on: what was chosen, was chosen there.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-out/alfworld-tiny}
: "${ALFWORLD_DATA:?wanted the folder of the official games (docs/envs/alfworld.md)}"

generated=(games=generated difficulty=official count=48000)
collect=(python -m rollouts.collect --env alfworld --split train)

learn() { # model, log, folder, settings
    python -m algorithms.sft --env alfworld --data "$2" --model "$1" --out "$3" --observations 0.1 --optimizer muon --batch 16 \
        --precision bf16 --tracker none "${@:4}"
}

once() { # command of rollouts.trajectory, log that it makes, the rest of the command
    [[ -f $2 ]] || python -m rollouts.trajectory "$1" --out "$2" "${@:3}"
}

demos=(--agent expert --agent-args disturb=0.15 --seed 1)
"${collect[@]}" "${demos[@]}" --env-args "${generated[@]}" --out "$out/generated.jsonl"
"${collect[@]}" "${demos[@]}" --env-args fold=1-19/20 --samples 2 --out "$out/official.jsonl"
once merge "$out/demos.jsonl" "$out/generated.jsonl" "$out/official.jsonl"
learn tiny "$out/demos.jsonl" "$out" --epochs 2

model=$out/sft corrected=()
for round in 1 2 3; do
    here=$out/round-$round
    student=("${collect[@]}" --agent "$model" --temperature 0 --max-new-tokens 16 --dagger 0.3 --parallel 256 --seed $((round + 1)))
    "${student[@]}" --env-args fold=1-19/20 --out "$here/official.jsonl"
    "${student[@]}" --env-args "${generated[@]}" fold=$round/8 --episodes 3500 --out "$here/generated.jsonl"
    "${student[@]}" --env-args "${generated[@]}" fold=$round/8 'task_types=["pick_two_obj_and_place"]' --episodes 3500 \
        --out "$here/two.jsonl"
    once merge "$here/all.jsonl" "$here"/{official,generated,two}.jsonl
    once slice "$here/corrected.jsonl" "$here/all.jsonl" --info corrected disturbance
    once slice "$here/agreed.jsonl" "$here/all.jsonl" --lacks corrected disturbance --sample 0:0.33 --of episodes
    corrected+=("$here/corrected.jsonl")
    once merge "$here/log.jsonl" "${corrected[@]}" "$here/agreed.jsonl"
    learn "$model" "$here/log.jsonl" "$here" --lr 1e-3 --epochs 1
    model=$here/sft
done
