# What runs/compare.sh and runs/ablations.sh share; they source it, define `seed_run`, and call `study NAME`.
#
# study NAME runs `seed_run` for every seed, --jobs of them at a time, then writes docs/results/NAME-ENV.md by benchmarks/NAME.py. What
# a seed prints goes to RUN/compare/NAME.txt, the seconds that it took to NAME.seconds (a line for each time that it was begun or gone
# on with). A command that fails ends its seed (its last lines are shown) and the study has no table.
set -euo pipefail
self=$(realpath "$0")
cd "$(dirname "$self")/.."

env='' seeds='0 1 2 3 4' jobs=2 out=out/compare
while (($#)); do
    case $1 in
    --env | --seeds | --jobs | --out | --one) printf -v "${1#--}" %s "${2?$1 needs a value}" && shift 2 ;;
    *) echo "unknown argument $1: wanted --env math|alfworld, --seeds \"0 1\", --jobs N, --out DIR" >&2 && exit 2 ;;
    esac
done
[[ $jobs =~ ^[1-9][0-9]*$ ]] || { echo "--jobs must be at least 1, got $jobs" >&2 && exit 2; }
case $env in
math)
    splits=(test) tasks=500 tokens=128 parallel=128 played=1000 samples=5 further=3000
    trees=(--tasks 750) iterations=40 searches=(10 20 80)
    ;;
alfworld)
    splits=(valid_seen valid_unseen) tasks=100 tokens=16 parallel=64 played=300 samples=3 further=500
    trees=(--tasks 150 --depth 15 --rollouts 1 --shrink 1) iterations=5 searches=(10 20)
    ;;
*) echo "unknown environment '$env': wanted --env math or --env alfworld" >&2 && exit 2 ;;
esac
run=$out/$env-${one-}

study() {
    local name=$1 folders=() all rounds seed
    if [[ ${one+given} ]]; then
        log=$run/compare/$name.txt
        mkdir -p "$run/compare"
        echo "$env, seed $one: $log"
        exec 3>&2
        trap 'code=$?; echo $SECONDS >>"${log%.txt}.seconds"; ((code)) && tail -n 20 "$log" >&3; exit $code' EXIT
        seed_run >>"$log" 2>&1 # not behind ||, where bash goes on after a failure
        return
    fi
    # Small models use a core each better than two together; seeds that are left over share the cores.
    read -ra all <<<"$seeds"
    rounds=$((${#all[@]} / jobs * jobs))
    side_by_side "$jobs" "${all[@]:0:rounds}"
    side_by_side $((${#all[@]} - rounds)) "${all[@]:rounds}"
    for seed in $seeds; do folders+=("$out/$env-$seed"); done
    python -m "benchmarks.$name" "${folders[@]}" >"docs/results/$name-$env.part"
    mv "docs/results/$name-$env.part" "docs/results/$name-$env.md"
    cat "docs/results/$name-$env.md"
}

side_by_side() { # how many at once, seeds
    (($# > 1)) || return 0
    local threads=${OMP_NUM_THREADS:-$((($(nproc) + $1 - 1) / $1))}
    printf '%s\n' "${@:2}" | OMP_NUM_THREADS=$threads xargs -n 1 -P "$1" "$BASH" "$self" --env "$env" --out "$out" --one
}

learn() { # learner, log, folder, settings: trained from the SFT model
    python -m "algorithms.$1" --env "$env" --data "$2" --model "$run/sft" --seed "$one" --out "$3" --tracker none "${@:4}"
}

grow() { # log, iterations: the SFT model's trees
    python -m rollouts.tree --env "$env" --agent "$run/sft" --split train --seed "$one" "${trees[@]}" --iterations "$2" \
        --max-new-tokens $tokens --parallel 64 --out "$1"
}

pipeline() { # settings: demonstrations, sft, rollouts and oreo, in $run
    python -m algorithms.oreo --env "$env" --tasks $played --eval-tasks 0 --seed "$one" --out "$run" --tracker none "$@"
}

play() { # LABEL=CHECKPOINT ...: their episodes on every split, greedy and sampled
    python -m benchmarks.play "$run" "$@" --env "$env" --splits "${splits[@]}" --tasks $tasks --max-new-tokens $tokens \
        --parallel $parallel --seed "$one"
}
