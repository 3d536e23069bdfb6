"""V and the sampled tokens' log-probability along solved and other episodes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import median

from rollouts.estimates import mean_interval
from rollouts.report.chart import LOST, WON, Chart, Line, Panel
from rollouts.report.facts import Facts
from rollouts.report.readings import Read, ReadLog
from rollouts.report.section import Section
from rollouts.trajectory import Trajectory

PLACES = 11
"""Where along an episode, from its first state to its last."""
PARTS = 10
LEAST = 5
"""Episodes that a point of a line must be the mean of."""
MOST_STEPS = 25
"""Steps to the end that are shown."""

Series = Sequence[tuple[str, Sequence[float]]]
"""Of each episode its task and something along it."""


def values_along(logs: Sequence[ReadLog]) -> Section:
    """The section on V along episodes."""
    title = "Value along episodes"
    if not logs:
        return Section("values", title, missing=NO_VALUES)
    panels = []
    for index, log in enumerate(logs, 1):
        won, lost = _apart(log.reads)
        # V at a step's beginning is what can be compared; where there are few steps, the tokens between them must do.
        by_step = median(len(read.steps) for read in log.reads) >= PLACES / 2
        series = [[(r.episode.task, r.before_steps() if by_step else r.states()) for r in reads] for reads in (won, lost)]
        relative = [*by_place(series[0], "solved", WON), *by_place(series[1], "not solved", LOST)]
        x = f"part of the episode's {'steps' if by_step else 'tokens'} gone by"
        panels.append(Panel(f"value-along-{index}", log.name, x, "V, mean", relative, percent="x"))
        ends = [*by_steps_left(won, "solved", WON), *by_steps_left(lost, "not solved", LOST)]
        panels.append(Panel(f"value-to-end-{index}", log.name, "steps to the end", "V, mean", ends, backwards=True))
    caption = "Where the lines part, the critic can tell solved episodes from others; bands are 95% intervals over tasks."
    return Section("values", title, described(logs), [Chart(caption, panels)])


def entropy_along(facts: Sequence[Facts]) -> Section:
    """The section on entropy: -log p of sampled tokens along episodes, of logs that were sampled from the policy as it is."""
    title = "Entropy along episodes"
    panels = []
    for index, found in enumerate(facts, 1):
        if found.entropy is None or not found.sample:
            continue
        won = [(t.task, _surprise(t)) for t in found.sample if t.success]
        lost = [(t.task, _surprise(t)) for t in found.sample if not t.success]
        marks = [*by_part(won, "solved", WON), *by_part(lost, "not solved", LOST)]
        panels.append(
            Panel(f"entropy-{index}", found.log.name, "part of the episode's tokens", "−log p, nats a token", marks, percent="x")
        )
    if not panels:
        missing = (
            "Give a log that was sampled at temperature 1 without top-p or top-k, with log-probabilities (a run's rollouts.jsonl)."
        )
        return Section("entropy", title, missing=missing)
    caption = (
        "The mean of −log p of sampled tokens is the policy's entropy: high where it is undecided. "
        "Unsolved episodes that lie higher went on where the policy was unsure."
    )
    return Section("entropy", title, "", [Chart(caption, panels)])


NO_VALUES = (
    "Give --critic CHECKPOINT (one with a value head, such as RUN/oreo or RUN/value), a run's folder that has one, or a log with "
    "values (python -m rollouts.credit writes them)."
)


def described(logs: Sequence[ReadLog]) -> str:
    """Whose values these are, and of how many episodes."""
    parts = []
    for log in logs:
        chosen = f"{len(log.reads):,} of {log.of:,} episodes of {log.name}" + (
            ", chosen by hash" if len(log.reads) < log.of else ""
        )
        parts.append(f"{chosen}: {log.source}" + (" (tasks that it was not trained on)" if log.held_out else ""))
    return "V is the return expected from a state on. Read along " + "; ".join(parts) + "."


def by_place(series: Series, label: str, colour: int) -> list[Line]:
    """The mean over episodes at evenly spaced places, 0 the first state and 1 the last; no line for fewer than `LEAST` episodes."""
    series = [(task, values) for task, values in series if values]
    if len(series) < LEAST:
        return []
    tasks = [task for task, _ in series]
    x = [k / (PLACES - 1) for k in range(PLACES)]
    found = [mean_interval([values[round(place * (len(values) - 1))] for _, values in series], tasks) for place in x]
    return [_line(label, x, found, colour)]


def by_part(series: Series, label: str, colour: int) -> list[Line]:
    """The mean over episodes of the means of their tenths, at the tenths' middles; as `by_place`.

    Of fewer than ten values some stand for two tenths.
    """
    tenths = [(task, [_part(values, k) for k in range(PARTS)]) for task, values in series if values]
    if len(tenths) < LEAST:
        return []
    tasks = [task for task, _ in tenths]
    found = [mean_interval([parts[k] for _, parts in tenths], tasks) for k in range(PARTS)]
    return [_line(label, [(k + 0.5) / PARTS for k in range(PARTS)], found, colour)]


def _part(values: Sequence[float], k: int) -> float:
    first = k * len(values) // PARTS
    own = values[first : max(first + 1, (k + 1) * len(values) // PARTS)]
    return sum(own) / len(own)


def by_steps_left(reads: Sequence[Read], label: str, colour: int) -> list[Line]:
    """The mean of V before a step by how many steps are left, 1 before the last."""
    found = defaultdict[int, list[tuple[str, float]]](list)
    for read in reads:
        for left, step in enumerate(reversed(read.steps), 1):
            if step.value is not None:
                found[left].append((read.episode.task, step.value))
    lefts = [left for left in sorted(found) if left <= MOST_STEPS and len(found[left]) >= LEAST]
    if not lefts:
        return []
    means = [mean_interval([v for _, v in found[left]], [task for task, _ in found[left]]) for left in lefts]
    return [_line(label, lefts, means, colour)]


def _line(label: str, x: Sequence[float], found: Sequence[tuple[float, float, float]], colour: int) -> Line:
    return Line(label, x, [mean for mean, _, _ in found], colour, [low for _, low, _ in found], [high for _, _, high in found])


def _apart(reads: Sequence[Read]) -> tuple[list[Read], list[Read]]:
    return [read for read in reads if read.episode.success], [read for read in reads if not read.episode.success]


def _surprise(episode: Trajectory) -> list[float]:
    return [-logp for step in episode.steps for logp in step.logps or ()]
