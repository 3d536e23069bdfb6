"""Episodes, readings and logs that the tests of the report share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rollouts.reading import StepReading
from rollouts.report.readings import Read, ReadLog
from rollouts.trajectory import End, Header, LogWriter, Step, Trajectory


def episode(
    task: str, *steps: Step | str, solved: bool = False, seed: int = 0, env: str = "MathReason-v0", end: End = End.TERMINATED
) -> Trajectory:
    made = [step if isinstance(step, Step) else Step("", step, 0.0) for step in steps]
    if solved and made:
        made[-1] = Step(
            made[-1].observation, made[-1].action, 1.0, info=made[-1].info, tokens=made[-1].tokens, logps=made[-1].logps
        )
    return Trajectory(env, task, seed, tuple(made), end, "lm")


def read(task: str, values: Sequence[float], solved: bool = False, env: str = "MathReason-v0", actions: Sequence[str] = ()) -> Read:
    """An episode whose steps have these values; the last gains what is left to 1 or 0."""
    texts = actions or [f"step {i}" for i in range(len(values))]
    after = [*values[1:], float(solved)]
    steps = [StepReading(value=v, advantage=w - v) for v, w in zip(values, after, strict=True)]
    return Read(episode(task, *texts, solved=solved, env=env), steps)


def read_log(*reads: Read, **fields: Any) -> ReadLog:
    return ReadLog("rollouts", "the critic oreo", list(reads), len(reads), **fields)


def log(path: Path, *episodes: Trajectory, **header: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with LogWriter(path, Header(**({"env_id": "MathReason-v0", "agent": "lm"} | header))) as writer:
        writer.append(*episodes)
    return path
