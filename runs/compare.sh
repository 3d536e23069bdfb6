#!/usr/bin/env bash
# All learners on the same log, from the same start, and their table:
#   runs/compare.sh --env math          five seeds, two at a time; writes docs/results/compare-math.md
#   runs/compare.sh --env alfworld --seeds "0 1" --jobs 1 --out DIR
# What is done is not done again: the same command goes on with a stopped run.
set -euo pipefail
cd "$(dirname "$0")/.."
env='' seeds='0 1 2 3 4' jobs=2 out=out/compare one=''
while (($#)); do
    case $1 in
    --env | --seeds | --jobs | --out | --one) printf -v "${1#--}" %s "${2?$1 needs a value}" && shift 2 ;;
    *) echo "unknown argument $1: wanted --env math|alfworld, --seeds \"0 1\", --jobs N, --out DIR" >&2 && exit 2 ;;
    esac
done
case $env in
math) splits=(test) data=(--tasks 1000 --samples 5) tasks=500 tokens=128 parallel=128 trees=(--tasks 750 --iterations 40) ;;
alfworld) splits=(valid_seen valid_unseen) data=() tasks=100 tokens=16 parallel=64 trees=(--tasks 150 --iterations 5 --depth 15 --rollouts 1 --shrink 1) ;;
*) echo "unknown environment '$env': wanted --env math or --env alfworld" >&2 && exit 2 ;;
esac

if [[ -z $one ]]; then
    # Small models use one core each better than two together.
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((($(nproc) + jobs - 1) / jobs))}
    xargs -n 1 -P "$jobs" "$0" --env "$env" --out "$out" --one <<<"$seeds"
    folders=()
    for seed in $seeds; do folders+=("$out/$env-$seed"); done
    python benchmarks/compare.py "${folders[@]}" >"docs/results/compare-$env.part"
    mv "docs/results/compare-$env.part" "docs/results/compare-$env.md"
    cat "docs/results/compare-$env.md"
    exit
fi

run=$out/$env-$one
log=$run/compare/output.txt
mkdir -p "$run/compare"
echo "$env, seed $one: $log"
learn() { # name, log, folder
    python -m "algorithms.$1" --env "$env" --data "$2" --model "$run/sft" --preset tiny --seed "$one" --out "${3:-$run}" --tracker none
}
{
    python -m algorithms.oreo --env "$env" "${data[@]}" --eval-tasks 0 --seed "$one" --out "$run" --tracker none # demonstrations, sft, rollouts and oreo
    # What rejection sampling would do with the demonstrations in place of the samples: the same loss, rate and passes.
    learn rejection "$run/demos.jsonl" "$run/further"
    for learner in rejection dpo kto dro dqo; do learn $learner "$run/rollouts.jsonl"; done
    python -m rollouts.tree --env "$env" --agent "$run/sft" --split train --seed "$one" "${trees[@]}" --max-new-tokens $tokens --out "$run/tree.jsonl"
    for learner in dvo step_dpo; do learn $learner "$run/tree.jsonl"; done
    for model in sft further/rejection oreo rejection dpo kto dro dqo dvo step_dpo; do
        for split in "${splits[@]}"; do
            for temperature in 0 1; do
                python -m rollouts.evaluate "$run/$model" --env "$env" --split "$split" --episodes $tasks --temperature $temperature \
                    --max-new-tokens $tokens --parallel $parallel --seed "$one" --log "$run/compare/$split-$temperature/${model%/*}.jsonl"
            done
        done
    done
} >>"$log" 2>&1 || { tail -n 20 "$log" >&2 && exit 1; }
