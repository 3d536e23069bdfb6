"""A control: the episodes of a log with their outcomes dealt anew at random, so that nothing is left to learn but noise.

    python -m benchmarks.deal rollouts.jsonl dealt.jsonl [--seed 0]

Ends and returns change places among the episodes, a return being given at the last step. What a learner's policy gains or loses on
such a log is what the noise of its updates does.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import msgspec

from rollouts.line_writer import written_aside
from rollouts.trajectory import End, Trajectory, read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    log = read(args.log)
    with written_aside(args.out) as writer:
        writer.follow(log.headers[0].encode())
        for trajectory in dealt(log.trajectories, args.seed):
            writer.write(msgspec.json.encode(trajectory) + b"\n")


def dealt(trajectories: list[Trajectory], seed: int) -> list[Trajectory]:
    """The episodes with each other's ends and returns; those without a step, or that ended by an error, are left out."""
    played = [t for t in trajectories if t.steps and t.end is not End.ERROR]
    outcomes = [(t.end, t.total_reward) for t in played]
    random.Random(seed).shuffle(outcomes)
    return [_with(trajectory, *outcome) for trajectory, outcome in zip(played, outcomes, strict=True)]


def _with(trajectory: Trajectory, end: End, reward: float) -> Trajectory:
    *before, last = (msgspec.structs.replace(step, reward=0.0) for step in trajectory.steps)
    steps = (*before, msgspec.structs.replace(last, reward=reward))
    return msgspec.structs.replace(trajectory, steps=steps, end=end)


if __name__ == "__main__":
    main()
