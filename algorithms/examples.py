"""Logged episodes -> rows of tokens."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from agents.agent import Action, Turn
from agents.prompt import Prompt
from algorithms.batch import Row
from rollouts.trajectory import End, Trajectory

Truncated = Literal["zero", "drop"]


def encode_rows(
    trajectories: Iterable[Trajectory], prompt: Prompt, max_length: int, truncated: Truncated = "zero"
) -> Iterator[Row]:
    """Rows of all episodes that can be learnt from, in the order of the log.

    Episodes that ended by an error, or without an action, are left out. An episode cut off by a limit counts as lost
    (`truncated="zero"`: the limit is part of the task, as in the papers) or is left out ("drop"). A row longer than
    `max_length` keeps its first whole steps, and its return (and the sum of its process scores) moves to the last of them.
    """
    for trajectory in trajectories:
        if trajectory.end is End.ERROR or (trajectory.end is End.TRUNCATED and truncated == "drop"):
            continue
        row = encode_row(trajectory, prompt, max_length)
        if row is not None:
            yield row


def encode_row(trajectory: Trajectory, prompt: Prompt, max_length: int) -> Row | None:
    """One episode as tokens: sampled ids stay as they are, other text is encoded piece by piece. None if nothing fits.

    Raises:
        ValueError: the sampled ids do not say what the actions say: they are another tokenizer's. Or a process score is no number.
    """
    _check_tokenizer(trajectory, prompt)
    turns = [Turn(s.observation, {}, Action(s.action, s.tokens, s.logps)) for s in trajectory.steps]
    tokens: list[int] = []
    step: list[int] = []
    logps: list[float] = []
    logged = all(s.logps is not None for s in trajectory.steps)
    kept = -1
    for piece in prompt.pieces(turns):
        if len(tokens) + len(piece.tokens) > max_length:
            break
        kept = kept if piece.turn is None else piece.turn
        tokens += piece.tokens
        step += [-1 if piece.turn is None else piece.turn] * len(piece.tokens)
        own = trajectory.steps[piece.turn].logps if piece.turn is not None else None
        logps += own if own is not None else [0.0] * len(piece.tokens)
    if kept < 0:
        return None
    earned = trajectory.end is End.TERMINATED
    reward = [s.reward if earned else 0.0 for s in trajectory.steps]
    process = _process_scores(trajectory)
    targets = tuple(s.target for s in trajectory.steps[: kept + 1] if s.target is not None)
    while step[-1] < 0:
        for column in (tokens, step, logps):
            column.pop()
    return Row(
        tokens=tuple(tokens),
        step=tuple(step),
        reward=_first_steps(reward, kept),
        target=targets if len(targets) == kept + 1 else None,
        logps=tuple(logps) if logged else None,
        solved=trajectory.success,
        process_score=_first_steps(process, kept) if process else None,
        task=trajectory.task,
    )


def _first_steps(per_step: Sequence[float], last: int) -> tuple[float, ...]:
    """What the steps up to `last` have, which itself has that of the steps after it too."""
    return (*per_step[:last], sum(per_step[last:]))


def _process_scores(trajectory: Trajectory) -> list[float] | None:
    """One a step, 0 where it has none; None where no step has one."""
    if not any("process_score" in step.info for step in trajectory.steps):
        return None
    scores = [step.info.get("process_score", 0.0) for step in trajectory.steps]
    for number, score in enumerate(scores, 1):
        if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
            raise ValueError(
                f"{trajectory.task}, seed {trajectory.seed}: info['process_score'] of step {number} is {score!r}, wanted a finite "
                "number; python -m rollouts.process writes one"
            )
    return scores


def _check_tokenizer(trajectory: Trajectory, prompt: Prompt) -> None:
    """Message by message, since a character's bytes may lie in two steps of one message."""
    ids: list[int] = []
    text, sampled = "", True
    for index, step in enumerate(trajectory.steps):
        text, sampled = text + step.action, sampled and step.tokens is not None
        ids += [token for token in step.tokens or () if token != prompt.closer]
        ends = index + 1 == len(trajectory.steps) or trajectory.steps[index + 1].observation != ""
        if not ends:
            continue
        read = str(prompt.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))
        if sampled and read != text:
            raise ValueError(
                f"{trajectory.task}, seed {trajectory.seed}: this model reads the logged tokens as {read[:60]!r}, but the action "
                f"was {text[:60]!r}; give --model the model that sampled this log"
            )
        ids, text, sampled = [], "", True
