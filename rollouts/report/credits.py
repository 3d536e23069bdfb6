"""Which steps gain or lose most: advantages r + gamma V(s') - V(s) by kind of step, and by how far an episode has come."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from rollouts.estimates import mean_interval
from rollouts.report.along import LEAST, MOST_STEPS, NO_VALUES, described
from rollouts.report.chart import LOST, WON, Chart, Dots, Panel, Points
from rollouts.report.kinds import GROUPING, family, kind_of
from rollouts.report.readings import Read, ReadLog
from rollouts.report.section import Section, Table, interval, share, signed

SHOWN = 12
"""Kinds of steps that gain most, and as many that lose most, in a picture."""


@dataclass(frozen=True)
class KindCredit:
    """The credit of all steps of a kind."""

    kind: str
    count: int
    tasks: int
    mean: float
    low: float
    high: float
    """the 95% interval of the mean, over tasks"""
    solved: float
    """share of the steps in solved episodes"""
    best: str
    """the action that gained most"""
    worst: str
    """the action that lost most"""

    @property
    def total(self) -> float:
        """What they gained together."""
        return self.mean * self.count


def credits(logs: Sequence[ReadLog]) -> Section:
    """The section. Held-out logs are left to the sections on V: credit is told of the log that is learnt from."""
    title = "Credit by step"
    told = [log for log in logs if not log.held_out] or list(logs)
    by_family = defaultdict[str, list[Read]](list)
    for log in told:
        for read in log.reads:
            if any(step.advantage is not None for step in read.steps):
                by_family[family(read.episode.env_id)].append(read)
    if not by_family:
        return Section("credit", title, missing=NO_VALUES)
    charts, tables = [], []
    for name, reads in by_family.items():
        found = by_kind(reads)
        shown = found if len(found) <= 2 * SHOWN else [*found[:SHOWN], *found[-SHOWN:]]
        charts.append(Chart(_CAPTION, [_kinds_panel(name, shown)]))
        charts.append(Chart(_BY_NUMBER, [_number_panel(name, reads)]))
        caption = f"By kind of step ({GROUPING[name]}); ordered by what the kind gains over all steps read"
        left_out = f"; {len(found) - len(shown)} kinds between these are left out" if len(shown) < len(found) else ""
        tables.append(_table(shown, caption + left_out))
    lead = "The advantage of a step is r + γ V(s′) − V(s): what the step changed in the return that is expected. "
    return Section("credit", title, lead + described(told), charts, tables)


_CAPTION = (
    "Right of the dashed line a kind of step raises the expected return, left of it lowers it; bars: 95% intervals over tasks."
)
_BY_NUMBER = (
    "Where solved and unsolved episodes part, V sees which way they go. The gains of a solved episode add up to 1 minus V of its "
    "first state, those of an unsolved one to minus that V: what V had not seen comes with the last step."
)


def by_kind(reads: Sequence[Read]) -> list[KindCredit]:
    """The credit of each kind of step that has at least `LEAST` steps, the largest sum first."""
    found = defaultdict[str, list[tuple[float, str, bool, str]]](list)
    for read in reads:
        for index, step in enumerate(read.steps):
            if step.advantage is not None:
                episode = read.episode
                entry = step.advantage, episode.task, episode.success, episode.steps[index].action
                found[kind_of(episode, index)].append(entry)
    return sorted((_credit(kind, own) for kind, own in found.items() if len(own) >= LEAST), key=lambda c: (-c.total, c.kind))


def _credit(kind: str, own: Sequence[tuple[float, str, bool, str]]) -> KindCredit:
    tasks = [task for _, task, _, _ in own]
    mean, low, high = mean_interval([advantage for advantage, *_ in own], tasks)
    solved = sum(success for _, _, success, _ in own) / len(own)
    return KindCredit(kind, len(own), len(set(tasks)), mean, low, high, solved, max(own)[3], min(own)[3])


def by_number(reads: Sequence[Read]) -> list[tuple[int, float, float, float]]:
    """Number of a step, counted from 1, and the mean advantage there with its interval."""
    found = defaultdict[int, list[tuple[float, str]]](list)
    for read in reads:
        for number, step in enumerate(read.steps[:MOST_STEPS], 1):
            if step.advantage is not None:
                found[number].append((step.advantage, read.episode.task))
    enough = [(number, own) for number, own in sorted(found.items()) if len(own) >= LEAST]
    return [(number, *mean_interval([a for a, _ in own], [task for _, task in own])) for number, own in enough]


def _kinds_panel(name: str, found: Sequence[KindCredit]) -> Panel:
    dots = Dots("", range(len(found)), [k.mean for k in found], [k.low for k in found], [k.high for k in found], 0)
    labels = [f"{k.kind} ({k.count:,})" for k in found]
    return Panel(
        f"credit-{name}", "Advantage by kind of step (number of steps)", "advantage, mean", "", [dots], labels, across=(0,)
    )


def _number_panel(name: str, reads: Sequence[Read]) -> Panel:
    marks = []
    for label, colour, success in (("solved", WON, True), ("not solved", LOST, False)):
        if found := by_number([read for read in reads if read.episode.success is success]):
            numbers, means, lows, highs = zip(*found, strict=True)
            marks.append(Points(label, numbers, means, lows, highs, colour))
    return Panel(
        f"credit-by-number-{name}", "Advantage by number of the step", "step of the episode", "advantage, mean", marks, across=(0,)
    )


def _table(found: Sequence[KindCredit], caption: str) -> Table:
    columns = [
        "kind of step", "steps", "tasks", "advantage, mean", "95% interval", "sum", "in solved episodes", "gained most",
        "lost most",
    ]  # fmt: skip
    rows = [
        [
            k.kind,
            f"{k.count:,}",
            f"{k.tasks:,}",
            signed(k.mean),
            interval(k.low, k.high),
            signed(k.total, 1),
            share(k.solved),
            _short(k.best),
            _short(k.worst),
        ]
        for k in found
    ]
    return Table(caption, columns, rows)


def _short(action: str) -> str:
    text = " ".join(action.split())
    return text if len(text) <= 48 else text[:47] + "…"
