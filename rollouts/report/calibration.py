"""Whether V is what it says, and whether the policy's own advantages agree with V's."""

from __future__ import annotations

from collections.abc import Sequence

from rollouts.estimates import bin_of, reliability
from rollouts.report.along import NO_VALUES
from rollouts.report.chart import LOST, WON, Chart, Cloud, Panel, Points
from rollouts.report.readings import Read, ReadLog
from rollouts.report.section import Section, Table, number
from rollouts.stats import Tally
from rollouts.step_reading import StepReading
from rollouts.value_quality import Quality, Steps, quality
from rollouts.value_quality import agreement as agreement_of

MOST_POINTS = 1500
"""Steps in a cloud of points."""
BINS = 10
"""Of V."""


def quality_at(reads: Sequence[Read], place: int) -> Quality:
    """Of V before the step `place` of each episode, 0 the first and -1 the last that has a value; there is at least one episode."""
    return quality(*Steps.along((read.episode, [_known(read)[place]]) for read in reads), BINS)


def reliable(label: str, reads: Sequence[Read], place: int, colour: int) -> Points:
    """Of the episodes in each bin of that V, the share that is solved, with the interval that success has everywhere."""
    values = [_known(read)[place].value or 0.0 for read in reads]
    bins, place_of = reliability(values, [read.episode.success for read in reads], BINS), bin_of(values, BINS)
    inside = [
        Tally(read.episode for read, at in zip(reads, place_of, strict=True) if at == round(each.low * BINS)).summary()
        for each in bins
    ]
    low, high = [summary.low for summary in inside], [summary.high for summary in inside]
    return Points(label, [each.predicted for each in bins], [each.true for each in bins], low, high, colour)


def _known(read: Read) -> list[StepReading]:
    return [step for step in read.steps if step.value is not None]


def calibration(logs: Sequence[ReadLog]) -> Section:
    """The section on calibration."""
    title = "Calibration of V"
    if not logs:
        return Section("calibration", title, missing=NO_VALUES)
    panels, rows = [], []
    for index, log in enumerate(logs, 1):
        marks = []
        for name, place, colour in (("before the first step", 0, 2), ("before the last step", -1, 3)):
            found = quality_at(log.reads, place)
            marks.append(reliable(name, log.reads, place, colour))
            numbers = number(found.mean), number(found.success), number(found.ece), str(found.brier), number(found.constant)
            rows.append(
                [log.name, name.removeprefix("before the "), f"{found.steps:,}", *numbers, str(found.auc), str(found.within)]
            )
        panels.append(
            Panel(f"calibration-{index}", log.name, "V", "solved episodes", marks, percent="y", bounds=(-0.03, 1.03), diagonal=True)
        )
    columns = [
        "log",
        "V before the",
        "episodes",
        "V, mean",
        "success",
        "ECE",
        "Brier score",
        "of the constant",
        "AUC",
        "AUC within tasks",
    ]
    lead = (
        "With a reward of 1 for solving, V is close to the probability that the episode is solved (a KL term in its training "
        "lowers it a little). On episodes that the critic was trained on it looks better than it is."
    )
    caption = "On the dashed line V is what comes true; points below it are too hopeful. Bars are 95% intervals."
    explained = (
        "ECE: mean distance from the line. A Brier score below the constant's, and an AUC above 0.5, say that V knows something. "
        "Intervals are of tasks drawn anew"
    )
    return Section("calibration", title, lead, [Chart(caption, panels)], [Table(explained, columns, rows)])


def agreement(logs: Sequence[ReadLog]) -> Section:
    """The section on explicit and implicit advantages."""
    title = "Explicit and implicit advantage"
    panels, rows = [], []
    for index, log in enumerate(logs, 1):
        if not log.beta:
            continue
        steps, tasks = Steps.along(((read.episode, read.steps) for read in log.reads), log.beta)
        early = steps.at(~steps.last)
        if early.implicit is None or not len(early):
            continue
        clouds = []
        for label, chosen, colour in (("solved", early.won, WON), ("not solved", ~early.won, LOST)):
            own = early.at(chosen)
            if own.implicit is not None and len(own):
                clouds.append(Cloud(label, own.advantage[:MOST_POINTS].tolist(), own.implicit[:MOST_POINTS].tolist(), colour))
        name = "explicit: r + γ V(s′) − V(s)"
        panels.append(Panel(f"implicit-{index}", log.name, name, "implicit: β log(π / ref)", clouds, across=(0,), diagonal=True))
        found = agreement_of(early, tasks)
        measures = found.pearson, found.spearman, found.sign, found.explicit, found.implicit
        rows.append([log.name, f"{len(early):,}", number(log.beta), *map(str, measures)])
    if not panels:
        missing = (
            "Give --reference DIR, the model that training started from (RUN/sft), with a critic whose policy was trained with a "
            "beta (OREO, DQO)."
        )
        return Section("implicit", title, missing=missing)
    lead = (
        "At the optimum of the KL-regularised objective both are the same (OREO, eq. 12): β times the log-ratio of a step's tokens "
        "to the reference is the policy's own advantage. Last steps are left out: what they gain "
        "is the outcome."
    )
    caption = (
        "Each point is a step. On the dashed diagonal the policy says of a step what the critic says; a flat cloud has learnt less."
    )
    columns = ["log", "steps", "β", "correlation", "of ranks", "same sign", "AUC within tasks, explicit", "implicit"]
    told = "How far the two agree, and how well each tells steps of solved episodes from others of the same task"
    return Section("implicit", title, lead, [Chart(caption, panels)], [Table(told, columns, rows)])
