#!/usr/bin/env bash
# Learning from uneven logs, on ALFWorld's official games (the setting of OREO's Table 2 and Figure 4):
#   ALFWORLD_DATA=DIR runs/uneven.sh --seeds "0 1 2"      writes docs/results/uneven-alfworld.md
# A tiny model from scratch imitates an expert that is made mediocre, once. Then, for each seed, it plays each of 622 training tasks five
# times, all learners are trained on that log (dvo and step_dpo on trees), three of them for three rounds, and all play both validation
# splits. What is done is not done again: the same command goes on with a stopped run.
set -- --env alfworld "$@"
source "$(dirname "$(realpath "$0")")/study.sh"
: "${ALFWORLD_DATA:?wanted the folder of the official games (docs/envs/alfworld.md)}"

start=$out/start
played=(--env-args fold=1-7/40) # 622 of the 3,553 tasks
tasks=140                       # of each split: all of them (valid_unseen has 134)
trees=("${played[@]}" --tasks 150 --depth 40 --rollouts 1 --shrink 1)
iterated=(rejection dpo oreo)

imitate() { # fold 0/20 is held out, to choose by
    local collect=(python -m rollouts.collect --env alfworld --agent expert --agent-args order=random noise=0.1 --split train --seed 2)
    "${collect[@]}" --env-args games=generated difficulty=official count=24000 --out "$start/generated.jsonl"
    "${collect[@]}" --env-args fold=1-19/20 --samples 2 --out "$start/official.jsonl"
    [[ -f $start/demos.jsonl ]] ||
        python -m rollouts.trajectory merge "$start/generated.jsonl" "$start/official.jsonl" --out "$start/demos.jsonl"
    python -m algorithms.sft --env alfworld --data "$start/demos.jsonl" --model tiny --observations 0.1 --optimizer muon --batch 16 \
        --epochs 2 --precision bf16 --out "$start" --tracker none
}

roll_out() { # agent, log, seed: five episodes of each task
    python -m rollouts.collect --env alfworld "${played[@]}" --agent "$1" --split train --samples 5 --seed "$3" \
        --max-new-tokens $tokens --parallel 256 --out "$2"
}

curve() { # label, checkpoint, settings: success by how many actions are tried
    local split
    for split in "${splits[@]}"; do
        [[ -f $run/compare/$split-$1.json ]] && continue
        python -m rollouts.evaluate "$run/$2" --env alfworld --split "$split" --search best-action --curve 1 2 3 4 5 "${@:3}" \
            --max-new-tokens $tokens --parallel 140 --seed "$one" --json "$run/compare/$split-$1.json"
    done
}

seed_run() {
    local learner level round before models=()
    [[ -d $run/sft ]] || ln -s ../start/sft ../start/sft-metrics.jsonl "$run/"
    roll_out "$run/sft" "$run/rollouts.jsonl" "$one"
    for learner in rejection dpo kto dro dqo oreo; do learn $learner "$run/rollouts.jsonl" "$run"; done
    for level in step response; do learn oreo "$run/rollouts.jsonl" "$run/$level" --level $level; done
    [[ -f $run/dealt.jsonl ]] || python -m benchmarks.deal "$run/rollouts.jsonl" "$run/dealt.jsonl" --seed "$one"
    learn oreo "$run/dealt.jsonl" "$run/dealt"
    grow "$run/tree.jsonl" $iterations
    for learner in dvo step_dpo; do learn $learner "$run/tree.jsonl" "$run"; done
    for learner in sft rejection dpo kto dro dqo dvo step_dpo oreo; do models+=("$learner=$learner"); done
    models+=(oreo-step=step/oreo oreo-response=response/oreo dealt=dealt/oreo)
    for learner in "${iterated[@]}"; do
        before=$run/$learner
        for round in 2 3; do
            roll_out "$before" "$run/$learner-$round.jsonl" $((one + 100 * round))
            learn "$learner" "$run/$learner-$round.jsonl" "$run/round-$round" --model "$before"
            before=$run/round-$round/$learner
            models+=("$learner-round-$round=round-$round/$learner")
        done
    done
    play "${models[@]}"
    curve oreo oreo
    curve likelihood oreo --value likelihood
}

[[ ${one+given} ]] || imitate
study uneven
