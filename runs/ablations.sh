#!/usr/bin/env bash
# The ablations of the papers in small, beside the runs that runs/compare.sh left:
#   runs/ablations.sh --env math --seeds "0 1 2"          writes docs/results/ablations-math.md
# What is done is not done again: the same command goes on with a stopped run.
source "$(dirname "$(realpath "$0")")/study.sh"

variant() { # label, learner, log, settings
    learn "$2" "$3" "$run/ablations/$1" "${@:4}"
    models+=("$1=ablations/$1/$2")
}

seed_run() {
    local rollouts=$run/rollouts.jsonl more=$run/ablations/more.jsonl dealt=$run/ablations/dealt.jsonl
    local tree learner lam level beta kl n models=()
    [[ -d $run/sft ]] || { echo "no run in $run: runs/compare.sh --env $env makes it" && exit 2; }
    mkdir -p "$run/ablations"
    python -m rollouts.collect --env "$env" --agent "$run/sft" --split train --episodes $((3 * played * samples)) --samples $samples \
        --seed "$one" --max-new-tokens $tokens --parallel $parallel --out "$more"
    [[ -f $dealt ]] || python -m benchmarks.deal "$more" "$dealt" --seed "$one"
    for learner in oreo rejection; do variant $learner-more $learner "$more"; done
    variant oreo-more-dealt oreo "$dealt"
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
    for n in "${searches[@]}"; do
        tree=$run/ablations/tree-$n.jsonl
        grow "$tree" "$n"
        variant "dvo-iterations-$n" dvo "$tree"
    done
    pipeline --rounds 3
    play "${models[@]}" oreo-round-2=oreo-2 oreo-round-3=oreo-3
}

study ablations
