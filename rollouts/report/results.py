"""Success of all logs, by kind of task, on the same tasks, and over runs."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

from rollouts.compare import Comparison, compare
from rollouts.estimates import mean_interval
from rollouts.report.chart import Chart, Dots, Panel
from rollouts.report.facts import Facts
from rollouts.report.inputs import Inputs, LogFile, Run
from rollouts.report.section import Section, Table, number, share, shares, signed_shares
from rollouts.stats import Summary

MOST_LOGS, MOST_PANELS = 6, 8
"""Logs beside each other in one picture, and pictures by kind of task."""
WHOLE = (-0.02, 1.02)
"""From no to all episodes, with room for a dot at the ends."""


@dataclass(frozen=True)
class Pair:
    """Two logs of the same tasks."""

    before: LogFile
    after: LogFile
    found: Comparison

    @property
    def label(self) -> str:
        """Both names, with what they end with alike said once: oreo-test and sft-test are `oreo − sft, test`."""
        one, two = self.after.name, self.before.name
        if self.before.run == self.after.run:
            two = two.rpartition("/")[2]
        alike = takewhile(lambda given: given[0] == given[1], zip(reversed(one), reversed(two), strict=False))
        common = "".join(letter for letter, _ in alike)[::-1]
        ending = common[common.find("-") :] if "-" in common else ""
        if not ending or ending in (one, two):
            return f"{one} − {two}"
        return f"{one.removesuffix(ending)} − {two.removesuffix(ending)}, {ending[1:]}"


@dataclass(frozen=True)
class OverRuns:
    """Something that was measured in several runs: its mean, and the 95% interval of the mean over runs."""

    name: str
    runs: int
    mean: float
    low: float
    high: float
    difference: bool = False
    """whether it is a difference of two logs of each run"""


def results(inputs: Inputs, facts: Sequence[Facts], pairs: Sequence[Pair]) -> Section:
    """The section."""
    if not facts:
        return Section("success", "Success", missing="Give a log, or a run's folder that has some.")
    charts = [Chart(_CAPTION, [_success_panel(facts)])]
    if kinds := _kinds(facts, pairs):
        charts.append(Chart(_KINDS, kinds))
    if pairs:
        charts.append(Chart(_PAIRED, [_pairs_panel(pairs)]))
    tables = [_summary_table(facts)]
    if pairs:
        tables.append(_pairs_table(pairs))
    if over := list(over_runs(inputs, facts, pairs)):
        charts.append(Chart(_OVER, _over_panels(over)))
        rows = [
            [
                each.name,
                str(each.runs),
                f"{each.mean:+.1%}" if each.difference else share(each.mean),
                signed_shares(each.low, each.high),
            ]
            for each in over
        ]
        tables.append(Table("Over runs: the mean, and its interval by Student's t", ["what", "runs", "mean", "95% interval"], rows))
    return Section("success", "Success", _LEAD, charts, tables)


_LEAD = (
    "An episode is solved where the task itself ended with reward; one that a limit or an error ended is not. Intervals are 95%: "
    "Wilson's, of as many episodes of different tasks as would say the same, since samples of one task are alike."
)
_CAPTION = "Each dot is a log's success, its bar the 95% interval: logs whose bars are far apart differ by more than chance."
_KINDS = "Success by kind of task with the same intervals; the logs of one kind lie beside each other, from above as in the legend."
_PAIRED = (
    "Right of the dashed line a log solves more than the one it is compared with, on the very same tasks; a bar across it may be "
    "chance."
)
_OVER = (
    "The mean over runs and its 95% interval by Student's t over runs: it has the luck of seeds in it, which no single run shows."
)


def pairs_of(inputs: Inputs, facts: Sequence[Facts]) -> list[Pair]:
    """The logs that share tasks, each with the one it is compared with.

    Evaluations of a run are compared with that of the model that its final training started from, where tasks and temperature
    are the same; logs that were given by themselves with the first of them that they share a task with.
    """
    by_log = {id(found.log): found for found in facts}
    found = [pair for run in inputs.runs for pair in _within(run, by_log)]
    alone = [log for log in inputs.logs if not log.run]
    for number_, log in enumerate(alone):
        first = next((one for one in alone[:number_] if by_log[id(one)].tasks & by_log[id(log)].tasks), None)
        if first is not None and (pair := _pair(first, log)):
            found.append(pair)
    for run in inputs.runs[1:]:
        found += _between(inputs.runs[0], run)
    return found


def over_runs(inputs: Inputs, facts: Sequence[Facts], pairs: Sequence[Pair]) -> Iterator[OverRuns]:
    """What was evaluated in at least two runs: success, and differences within the runs."""
    by_log = {id(found.log): found for found in facts}
    success, gains = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    for run in inputs.runs:
        for log in run.logs:
            if log.evaluation:
                success[_short(log)].append(by_log[id(log)].summary.success)
    for pair in pairs:
        if pair.before.run and pair.before.run == pair.after.run:
            gains[pair.label.rpartition("/")[2]].append(pair.found.difference)
    for found, difference in ((success, False), (gains, True)):
        for name, values in found.items():
            if len(values) > 1:
                yield OverRuns(name, len(values), *mean_interval(values), difference)


def _within(run: Run, facts: dict[int, Facts]) -> Iterator[Pair]:
    """A run's evaluations by what was played, each against the model that training started from; untrained models are left out."""
    trained = {stage.name for stage in run.stages}
    groups = defaultdict[str, list[LogFile]](list)
    for log in run.logs:
        if log.evaluation and (not trained or trained & {*facts[id(log)].agents}):
            headers = facts[id(log)].headers
            settings = [(header.env_id, header.env_args, header.sampling.get("temperature")) for header in headers[:1]]
            groups[json.dumps(settings, sort_keys=True)].append(log)
    for logs in groups.values():
        first = next((log for log in logs if run.start() in facts[id(log)].agents), logs[0])
        for log in logs:
            if log is not first and (pair := _pair(first, log)):
                yield pair


def _between(one: Run, two: Run) -> Iterator[Pair]:
    """The final models of two runs, where evaluations of both have one name."""
    before = {_short(log): log for log in one.logs if log.evaluation and one.critic and _short(log).startswith(one.critic.name)}
    for log in two.logs:
        if log.evaluation and _short(log) in before and (pair := _pair(before[_short(log)], log)):
            yield pair


def _pair(before: LogFile, after: LogFile) -> Pair | None:
    try:
        return Pair(before, after, compare(before.path, after.path))
    except ValueError:  # they share tasks, but no seed
        return None


def _success_panel(facts: Sequence[Facts]) -> Panel:
    summaries = [found.summary for found in facts]
    dots = _dots("", range(len(facts)), summaries, 0)
    return Panel("success", "Success of each log", "solved episodes", "", [dots], [f.log.name for f in facts], "x", WHOLE)


def _dots(label: str, rows: Sequence[int], summaries: Sequence[Summary], colour: int) -> Dots:
    return Dots(label, rows, [s.success for s in summaries], [s.low for s in summaries], [s.high for s in summaries], colour)


def _kinds(facts: Sequence[Facts], pairs: Sequence[Pair]) -> list[Panel]:
    """A picture for each log that others are compared with, and them; then for each log that was given by itself or learnt from."""
    by_log = {id(found.log): found for found in facts}
    groups = dict[int, list[Facts]]()
    for pair in pairs:
        groups.setdefault(id(pair.before), [by_log[id(pair.before)]]).append(by_log[id(pair.after)])
    seen = {id(found.log) for group in groups.values() for found in group}
    alone = [
        found for found in facts if id(found.log) not in seen and not found.log.evaluation and found.log.path.name != "demos.jsonl"
    ]
    told = [*(group[:MOST_LOGS] for group in groups.values()), *([found] for found in alone)]
    several = [group for group in told if len(set[str]().union(*(found.kinds for found in group))) > 1]
    return [_kinds_panel(index, group) for index, group in enumerate(several[:MOST_PANELS], 1)]


def _kinds_panel(index: int, group: Sequence[Facts]) -> Panel:
    kinds = sorted(set[str]().union(*(found.kinds for found in group)))
    marks = []
    for colour, found in enumerate(group):
        rows = [row for row, kind in enumerate(kinds) if kind in found.kinds]
        marks.append(_dots(found.log.name, rows, [found.kinds[kinds[row]].summary() for row in rows], colour))
    counts = [sum(found.kinds[kind].episodes for found in group if kind in found.kinds) // len(group) for kind in kinds]
    labels = [f"{kind or 'tasks without a kind'} ({count:,})" for kind, count in zip(kinds, counts, strict=True)]
    title = group[0].log.name if len(group) == 1 else "Success by kind of task (episodes)"
    return Panel(f"success-by-kind-{index}", title, "solved episodes", "", marks, labels, "x", WHOLE)


def _summary_table(facts: Sequence[Facts]) -> Table:
    columns = [
        "log",
        "agent",
        "episodes",
        "tasks",
        "success",
        "95% interval",
        "steps, mean",
        "tokens, mean",
        "entropy, nats/token",
        "ends",
    ]
    rows = []
    for found in facts:
        s = found.summary
        ends = ", ".join(f"{count:,} {name}" for name, count in sorted((s.outcomes or s.ends).items(), key=lambda item: -item[1]))
        rows.append(
            [
                found.log.name,
                ", ".join(found.agents),
                f"{s.episodes:,}",
                f"{len(found.tasks):,}",
                share(s.success),
                shares(s.low, s.high),
                number(s.mean_steps, 1),
                number(found.mean_tokens, 1),
                number(found.entropy),
                ends,
            ]
        )
    return Table("All logs (steps and tokens of an episode; entropy where tokens were drawn at temperature 1)", columns, rows)


def _pairs_panel(pairs: Sequence[Pair]) -> Panel:
    names = [pair.label for pair in pairs]
    dots = Dots(
        "", range(len(pairs)), [p.found.difference for p in pairs], [p.found.low for p in pairs], [p.found.high for p in pairs], 0
    )
    return Panel("paired", "Difference on the same tasks", "difference in success", "", [dots], names, "x", None, (0,))


def _pairs_table(pairs: Sequence[Pair]) -> Table:
    rows = [
        [
            pair.after.name,
            pair.before.name,
            f"{pair.found.tasks:,}",
            f"{pair.found.difference:+.1%}",
            signed_shares(pair.found.low, pair.found.high),
            str(len(pair.found.gained)),
            str(len(pair.found.lost)),
            "–" if pair.found.p is None else "< 0.001" if pair.found.p < 0.001 else f"{pair.found.p:.3f}",
        ]
        for pair in pairs
    ]
    columns = ["log", "compared with", "tasks", "difference", "95% interval", "gained", "lost", "p (McNemar)"]
    return Table("On the same tasks and seeds: success of the log minus that of the other", columns, rows)


def _over_panels(over: Sequence[OverRuns]) -> list[Panel]:
    panels = []
    for name, unit, difference in (("success", "success", False), ("difference", "difference in success", True)):
        if own := [each for each in over if each.difference is difference]:
            dots = Dots("", range(len(own)), [o.mean for o in own], [o.low for o in own], [o.high for o in own], 1)
            labels, across = [o.name for o in own], (0,) if difference else ()
            panels.append(Panel(f"over-runs-{name}", "Mean over runs", unit, "", [dots], labels, "x", None, across))
    return panels


def _short(log: LogFile) -> str:
    return log.name.rpartition("/")[2]
