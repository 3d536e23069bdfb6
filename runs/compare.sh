#!/usr/bin/env bash
# All learners from the same start, on its episodes (dvo and step_dpo: on its trees), and their table:
#   runs/compare.sh --env math          five seeds, two at a time; writes docs/results/compare-math.md
#   runs/compare.sh --env alfworld --seeds "0 1" --jobs 1 --out DIR
# What is done is not done again: the same command goes on with a stopped run.
source "$(dirname "$(realpath "$0")")/study.sh"

seed_run() {
    local learner models
    pipeline
    # What rejection sampling would do with demonstrations in place of the samples: the same loss, rate and passes.
    head -n $((further + 1)) "$run/demos.jsonl" >"$run/further.jsonl" # the first line is the log's header
    learn rejection "$run/further.jsonl" "$run/further"
    for learner in rejection dpo kto dro dqo; do learn $learner "$run/rollouts.jsonl" "$run"; done
    # What noise alone does: OREO where nothing can be learnt.
    [[ -f $run/dealt.jsonl ]] || python -m benchmarks.deal "$run/rollouts.jsonl" "$run/dealt.jsonl" --seed "$one"
    learn oreo "$run/dealt.jsonl" "$run/dealt"
    grow "$run/tree.jsonl" $iterations
    for learner in dvo step_dpo; do learn $learner "$run/tree.jsonl" "$run"; done
    models=(further=further/rejection dealt=dealt/oreo)
    for learner in sft oreo rejection dpo kto dro dqo dvo step_dpo; do models+=("$learner=$learner"); done
    play "${models[@]}"
}

study compare
