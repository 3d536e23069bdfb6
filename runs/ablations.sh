#!/usr/bin/env bash
# The ablations of the papers in small, on the logs that runs/compare.sh left:
#   runs/ablations.sh --env math          three seeds, two at a time; writes docs/results/ablations-math.md
# What is done is not done again: the same command goes on with a stopped run.
set -euo pipefail
cd "$(dirname "$0")/.."
env='' seeds='0 1 2' jobs=2 out=out/compare one=''
while (($#)); do
    case $1 in
    --env | --seeds | --jobs | --out | --one) printf -v "${1#--}" %s "${2?$1 needs a value}" && shift 2 ;;
    *) echo "unknown argument $1: wanted --env math|alfworld, --seeds \"0 1\", --jobs N, --out DIR" >&2 && exit 2 ;;
    esac
done
case $env in
math) splits=(test) data=(--tasks 1000 --samples 5) tasks=500 tokens=128 parallel=128 trees=(--tasks 750) searches=(10 20 80) ;;
alfworld) splits=(valid_seen valid_unseen) data=() tasks=100 tokens=16 parallel=64 trees=(--tasks 150 --depth 15 --rollouts 1 --shrink 1) searches=(2 10 20) ;;
*) echo "unknown environment '$env': wanted --env math or --env alfworld" >&2 && exit 2 ;;
esac

if [[ -z $one ]]; then
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((($(nproc) + jobs - 1) / jobs))}
    xargs -n 1 -P "$jobs" "$0" --env "$env" --out "$out" --one <<<"$seeds"
    folders=()
    for seed in $seeds; do folders+=("$out/$env-$seed"); done
    python benchmarks/ablations.py "${folders[@]}" >"docs/results/ablations-$env.part"
    mv "docs/results/ablations-$env.part" "docs/results/ablations-$env.md"
    cat "docs/results/ablations-$env.md"
    exit
fi

run=$out/$env-$one
log=$run/compare/ablations.txt
[[ -d $run/sft ]] || { echo "no run in $run: runs/compare.sh --env $env makes it" >&2 && exit 2; }
mkdir -p "$run/compare" "$run/ablations"
echo "$env, seed $one: $log"
play() { # label, checkpoint
    for split in "${splits[@]}"; do
        for temperature in 0 1; do
            python -m rollouts.evaluate "$2" --env "$env" --split "$split" --episodes $tasks --temperature $temperature \
                --max-new-tokens $tokens --parallel $parallel --seed "$one" --log "$run/compare/$split-$temperature/$1.jsonl"
        done
    done
}
variant() { # label, learner, log, settings
    local folder=$run/ablations/$1
    python -m "algorithms.$2" --env "$env" --data "$3" --model "$run/sft" --preset tiny --seed "$one" --out "$folder" --tracker none "${@:4}"
    play "$1" "$folder/$2"
}
{
    rollouts=$run/rollouts.jsonl
    for lam in 0.95 0.5; do variant dqo-lam-$lam dqo "$rollouts" --lam $lam; done
    variant dqo-lam-0.95-paper dqo "$rollouts" --lam 0.95 --lambda-return paper
    variant dqo-no-weights dqo "$rollouts" --no-weight-policy --no-weight-value
    variant dqo-policy-weight dqo "$rollouts" --no-weight-value
    variant dqo-value-weight dqo "$rollouts" --no-weight-policy
    for level in step response; do variant oreo-$level oreo "$rollouts" --level $level; done
    for beta in 0.01 0.1 0.3; do variant oreo-beta-$beta oreo "$rollouts" --beta $beta; done
    for kl in 0 0.1; do variant oreo-kl-$kl oreo "$rollouts" --kl $kl; done
    variant oreo-k3 oreo "$rollouts" --kl-estimate k3
    for beta in 0.03 0.3 1; do variant dvo-beta-$beta dvo "$run/tree.jsonl" --beta $beta; done
    variant dvo-response dvo "$run/tree.jsonl" --level response
    for iterations in "${searches[@]}"; do
        tree=$run/ablations/tree-$iterations.jsonl
        python -m rollouts.tree --env "$env" --agent "$run/sft" --split train --seed "$one" "${trees[@]}" --iterations $iterations \
            --max-new-tokens $tokens --out "$tree"
        variant dvo-iterations-$iterations dvo "$tree"
    done
    python -m algorithms.oreo --env "$env" "${data[@]}" --eval-tasks 0 --seed "$one" --out "$run" --tracker none --rounds 3
    for round in 2 3; do play oreo-round-$round "$run/oreo-$round"; done
} >>"$log" 2>&1 || { tail -n 20 "$log" >&2 && exit 1; }
