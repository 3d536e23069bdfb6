"""Logged episodes -> rows of tokens."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from agents.prompt import Prompt
from algorithms.batch import Row
from rollouts.encode import Encoded, Truncated, encode, first_steps
from rollouts.trajectory import End, Trajectory


def encode_rows(
    trajectories: Iterable[Trajectory], prompt: Prompt, max_length: int, truncated: Truncated = "zero"
) -> Iterator[Row]:
    """Rows of all episodes that can be learnt from, in the order of the log.

    Episodes that ended by an error, or without an action, are left out. An episode cut off by a limit earned nothing
    (`truncated="zero"`: the limit is part of the task, as in the papers), what it was given until then ("keep", for rewards on the
    way), that and V at the cut ("bootstrap"), or is left out ("drop"). A row longer than `max_length` keeps its first whole
    steps, and its return (and the sum of its process scores) moves to the last of them; where it is cut, V stands for the rest.
    """
    for trajectory in trajectories:
        if trajectory.end is End.ERROR:
            continue
        row = encode_row(trajectory, prompt, max_length, truncated)
        if row is not None:
            yield row


def encode_row(trajectory: Trajectory, prompt: Prompt, max_length: int, truncated: Truncated = "zero") -> Row | None:
    """One episode as tokens (`rollouts.encode`). None if nothing fits.

    Raises:
        ValueError: the sampled ids do not say what the actions say: they are another tokenizer's. Or a process score is no number.
    """
    found = encode(trajectory, prompt, max_length, truncated)
    if found is None:
        return None
    steps = trajectory.steps[: found.kept]
    targets = tuple(step.target for step in steps if step.target is not None)
    process = _process_scores(trajectory)
    return Row(
        tokens=found.tokens,
        step=found.step,
        reward=found.reward,
        target=targets if len(targets) == len(steps) else None,
        logps=_logps(trajectory, found),
        cut=found.cut,
        solved=trajectory.success,
        process_score=None if process is None else process[: found.kept] if found.cut else first_steps(process, found.kept),
        task=trajectory.task,
        seed=trajectory.seed,
    )


def _logps(trajectory: Trajectory, found: Encoded) -> tuple[float, ...] | None:
    """One a token, 0 at the environment's; None where a step has none."""
    logged = [step.logps for step in trajectory.steps]
    if None in logged:
        return None
    encoded = set(found.step)
    own = iter([logp for number, step in enumerate(logged) if number in encoded for logp in step or ()])
    return tuple(0.0 if step < 0 else next(own) for step in found.step)


def _process_scores(trajectory: Trajectory) -> tuple[float, ...] | None:
    """One a step, 0 where it has none; None where no step has one."""
    if not any("process_score" in step.info for step in trajectory.steps):
        return None
    scores = tuple(step.info.get("process_score", 0.0) for step in trajectory.steps)
    for number, score in enumerate(scores, 1):
        if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
            raise ValueError(
                f"{trajectory.task}, seed {trajectory.seed}: info['process_score'] of step {number} is {score!r}, wanted a finite "
                "number; python -m rollouts.process writes one"
            )
    return scores
