"""Episodes to look at: each token shaded by what it changed, V and advantages of each step, and what a search passed over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from rollouts.considered import Candidate, considered
from rollouts.report.readings import Read, ReadLog
from rollouts.report.section import Section

SOLVED, UNSOLVED, FALL, SEARCHED = "Solved", "Not solved", "Largest fall of V in a step", "A search chose"
"""Why an episode is shown."""
GAIN, LOSS, HIGH = "0, 114, 178", "213, 94, 0", "0, 158, 115"
"""Red, green and blue of a token that raises V, lowers it, and of a state of high V."""
STRONGEST = 0.75
"""Opacity of the strongest shade."""
LEAST_SCALE = 0.02
"""A change that is the strongest shade at least: a flat V must not look like a lively one."""
LONGEST = 1500
"""Characters of an observation that are shown."""


@dataclass(frozen=True)
class Token:
    """A piece of an action, with its shades as CSS colours and its numbers in words."""

    text: str
    change: str
    value: str
    ratio: str
    title: str


@dataclass(frozen=True)
class ShownStep:
    """A step as it is shown; numbers are None where nobody knows them."""

    number: int
    observation: str
    tokens: Sequence[Token]
    reward: float
    value: float | None
    advantage: float | None
    implicit: float | None
    """the policy's own advantage: beta times the log-ratio to the reference"""
    alternatives: Sequence[Candidate]


@dataclass(frozen=True)
class Shown:
    """An episode as it is shown."""

    why: str
    log: str
    task: str
    seed: int
    agent: str
    solved: bool
    outcome: str
    steps: Sequence[ShownStep]
    final: str
    line: str
    """V along it as the points of an SVG polyline in a box of 100 by 24; "" where nobody knows it"""


@dataclass(frozen=True)
class Scales:
    """What the strongest shade stands for."""

    change: float
    ratio: float


def gallery(logs: Sequence[ReadLog], each: int) -> tuple[Section, Scales]:
    """The section with `each` episodes of each kind, and the scales of their shades."""
    chosen = choose(logs, each)
    scales = scales_of([read for _, _, read in chosen])
    shown = [_shown(why, log, read, scales) for why, log, read in chosen]
    missing = "" if shown else "Give a log with episodes that did not end by an error."
    lead = (
        "Solved and unsolved episodes in the order of their hash, those in which a step before the last lowered V most, and those "
        "in which a search chose. A token's shade says how V changed by it; the last token of a step also has what the environment "
        "answered, that of an episode what came of it."
    )
    return Section("gallery", "Episodes", lead, episodes=shown, missing=missing), scales


def choose(logs: Sequence[ReadLog], each: int) -> list[tuple[str, ReadLog, Read]]:
    """At most `each` episodes of each kind, none of them twice."""
    everyone = [(log, read) for log in logs for read in log.reads]
    falling = sorted((given for given in everyone if fall(given[1]) > 0), key=lambda given: -fall(given[1]))
    kinds = (
        (FALL, falling),
        (SEARCHED, [given for given in everyone if any(len(found) > 1 for found in considered(given[1].episode))]),
        (SOLVED, [given for given in everyone if given[1].episode.success]),
        (UNSOLVED, [given for given in everyone if not given[1].episode.success]),
    )
    found, taken = list[tuple[str, ReadLog, Read]](), set[int]()
    for why, candidates in kinds:
        fresh = [(log, read) for log, read in _in_turn(candidates) if id(read) not in taken][:each]
        taken |= {id(read) for _, read in fresh}
        found += [(why, log, read) for log, read in fresh]
    return sorted(found, key=lambda given: (SOLVED, UNSOLVED, FALL, SEARCHED).index(given[0]))


def changes(read: Read) -> list[list[float]]:
    """How V changed by each token, step by step: the changes of a step add up to its advantage.

    Empty for a step whose tokens have no values of their own.
    """
    return [_changes(step.values, step.advantage) for step in read.steps]


def scales_of(reads: Sequence[Read]) -> Scales:
    """The 95% quantile of what is shown."""
    moved = [abs(change) for read in reads for step in changes(read) for change in step]
    moved += [abs(step.advantage) for read in reads for step in read.steps if step.advantage is not None and not step.values]
    ratios = [abs(ratio) for read in reads for step in read.steps for ratio in step.log_ratios]
    return Scales(*(max(LEAST_SCALE, float(np.quantile(found, 0.95))) if found else LEAST_SCALE for found in (moved, ratios)))


def _in_turn(candidates: Sequence[tuple[ReadLog, Read]]) -> Iterator[tuple[ReadLog, Read]]:
    """One of each log after the other, so that all of them are seen."""
    queues: dict[int, list[tuple[ReadLog, Read]]] = {}
    for given in candidates:
        queues.setdefault(id(given[0]), []).append(given)
    for place in range(max(map(len, queues.values()), default=0)):
        yield from (queue[place] for queue in queues.values() if place < len(queue))


def fall(read: Read) -> float:
    """The largest fall of V from a step's state to the next one's, 0 where there is none. What the end brings is no part of it."""
    falls = [a.value - b.value for a, b in pairwise(read.steps) if a.value is not None and b.value is not None]
    return max([0.0, *falls])


def _changes(values: Sequence[float], advantage: float | None) -> list[float]:
    if not values or advantage is None:
        return []
    inner = [after - before for before, after in pairwise(values)]
    return [*inner, advantage - sum(inner)]


def _shown(why: str, log: ReadLog, read: Read, scales: Scales) -> Shown:
    episode = read.episode
    last: dict[str, Any] = episode.steps[-1].info if episode.steps else {}
    outcome = str(last.get("outcome", episode.end.value))
    return Shown(
        why,
        log.name,
        episode.task,
        episode.seed,
        episode.agent,
        episode.success,
        outcome,
        list(_steps(log, read, scales)),
        cut(episode.final),
        polyline(read.states()),
    )


def _steps(log: ReadLog, read: Read, scales: Scales) -> Iterator[ShownStep]:
    told = zip(read.episode.steps, read.steps, changes(read), considered(read.episode), strict=True)
    for number, (step, reading, moved, candidates) in enumerate(told, 1):
        if moved:
            ratios = reading.log_ratios or (None,) * len(moved)
            tokens = [_token(*given, scales) for given in zip(reading.texts, reading.values, moved, ratios, strict=True)]
        else:
            tokens = [_token(step.action, reading.value, reading.advantage, reading.implicit, scales)]
        implicit = None if log.beta is None or reading.implicit is None else log.beta * reading.implicit
        yield ShownStep(number, cut(step.observation), tokens, step.reward, reading.value, reading.advantage, implicit, candidates)


def _token(text: str, value: float | None, change: float | None, ratio: float | None, scales: Scales) -> Token:
    said = [f"{name} {number:{form}}" for name, number, form in _numbers(value, change, ratio) if number is not None]
    shown = text.replace("\n", "↵\n")
    return Token(
        shown, shade(change, scales.change), _height(value), shade(ratio, scales.ratio), ", ".join(said) or "no value is known"
    )


def _numbers(value: float | None, change: float | None, ratio: float | None) -> tuple[tuple[str, float | None, str], ...]:
    return ("V before it", value, ".3f"), ("change of V", change, "+.3f"), ("log(π / ref)", ratio, "+.3f")


def shade(number: float | None, scale: float) -> str:
    """A CSS colour: blue for what is above 0, orange for what is below, stronger for more, up to `scale`."""
    if number is None:
        return "transparent"
    return f"rgba({GAIN if number > 0 else LOSS}, {min(1.0, abs(number) / scale) * STRONGEST:.2f})"


def _height(value: float | None) -> str:
    return "transparent" if value is None else f"rgba({HIGH}, {min(1.0, max(0.0, value)) * STRONGEST:.2f})"


def polyline(values: Sequence[float]) -> str:
    """Values as points in a box of 100 by 24, 0 at its bottom and 1 at its top (what lies beyond is drawn at the edge)."""
    if len(values) < 2:
        return ""
    return " ".join(f"{100 * i / (len(values) - 1):.1f},{23 - 22 * min(1.0, max(0.0, v)):.1f}" for i, v in enumerate(values))


def cut(text: str) -> str:
    """The beginning of a long text."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text) - LONGEST:,} characters more)"
