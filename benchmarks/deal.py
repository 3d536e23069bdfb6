"""A control: the episodes of a log with their outcomes dealt anew at random, so that nothing is left to learn but noise.

    python -m benchmarks.deal rollouts.jsonl dealt.jsonl [--seed 0]

Ends and returns change places among the episodes, a return being given at the last step. What a learner's policy gains or loses on
such a log is what the noise of its updates does.
"""

from __future__ import annotations

import argparse
import os
import random
from pathlib import Path

import msgspec

from rollouts.trajectory import End, LogWriter, Trajectory, read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    log, aside = read(args.log), args.out.with_name(args.out.name + ".part")
    aside.unlink(missing_ok=True)
    with LogWriter(aside, log.headers[0]) as writer:
        writer.append(*dealt(log.trajectories, args.seed))
    os.replace(aside, args.out)


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
