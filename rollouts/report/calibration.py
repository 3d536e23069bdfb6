"""Whether V is what it says, and whether the policy's own advantages agree with V's."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rollouts.estimates import Bin, brier, calibration_error, reliability
from rollouts.report.along import NO_VALUES
from rollouts.report.chart import LOST, WON, Chart, Cloud, Panel, Points
from rollouts.report.readings import Read, ReadLog
from rollouts.report.section import Section, Table, number
from rollouts.stats import auc, wilson

MOST_POINTS = 1500
"""Steps in a cloud of points."""


@dataclass(frozen=True)
class Quality:
    """V before one step of each episode, against whether the episode was solved."""

    bins: list[Bin]
    episodes: int
    mean: float
    success: float
    ece: float
    brier: float
    constant: float
    """the Brier score of always saying the success rate"""
    auc: float
    within: float
    """the AUC among episodes of one task"""


def quality(reads: Sequence[Read], place: int) -> Quality:
    """Of V before the step `place`, 0 the first and -1 the last that has a value; there is at least one episode."""
    known = [(read, [step.value for step in read.steps if step.value is not None]) for read in reads]
    values = [own[place] for _, own in known]
    solved = [read.episode.success for read, _ in known]
    bins, rate = reliability(values, solved), sum(solved) / len(solved)
    scores, good = np.array(values), np.array(solved)
    return Quality(
        bins,
        len(values),
        float(scores.mean()),
        rate,
        calibration_error(bins),
        brier(values, solved),
        rate * (1 - rate),
        auc(scores, good),
        auc(scores, good, [read.episode.task for read, _ in known]),
    )


def calibration(logs: Sequence[ReadLog]) -> Section:
    """The section on calibration."""
    title = "Calibration of V"
    if not logs:
        return Section("calibration", title, missing=NO_VALUES)
    panels, rows = [], []
    for index, log in enumerate(logs, 1):
        marks = []
        for name, place, colour in (("before the first step", 0, 2), ("before the last step", -1, 3)):
            found = quality(log.reads, place)
            marks.append(_points(name, found.bins, colour))
            numbers = (found.mean, found.success, found.ece, found.brier, found.constant, found.auc, found.within)
            rows.append([log.name, name.removeprefix("before the "), f"{found.episodes:,}", *map(number, numbers)])
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
    caption = "On the dashed line V is what comes true; points below it are too hopeful. Bars are Wilson's 95% intervals of a bin."
    explained = (
        "ECE: mean distance from the line. A Brier score below the constant's, and an AUC above 0.5, say that V knows something"
    )
    return Section("calibration", title, lead, [Chart(caption, panels)], [Table(explained, columns, rows)])


def agreement(logs: Sequence[ReadLog]) -> Section:
    """The section on explicit and implicit advantages."""
    title = "Explicit and implicit advantage"
    panels, rows = [], []
    for index, log in enumerate(logs, 1):
        if not log.beta:
            continue
        won = list(pairs([read for read in log.reads if read.episode.success], log.beta))
        lost = list(pairs([read for read in log.reads if not read.episode.success], log.beta))
        if not won and not lost:
            continue
        # Clouds of one size, the same steps each time.
        clouds = [
            Cloud(label, [e for e, _ in own[:MOST_POINTS]], [i for _, i in own[:MOST_POINTS]], colour)
            for label, own, colour in (("solved", won, WON), ("not solved", lost, LOST))
            if own
        ]
        name = "explicit: r + γ V(s′) − V(s)"
        panels.append(Panel(f"implicit-{index}", log.name, name, "implicit: β log(π / ref)", clouds, across=(0,), diagonal=True))
        both = [*won, *lost]
        rows.append([log.name, f"{len(both):,}", number(log.beta), number(correlation(both)), number(_same_sign(both))])
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
    columns = ["log", "steps", "β", "correlation", "same sign, share"]
    return Section("implicit", title, lead, [Chart(caption, panels)], [Table("How far the two agree", columns, rows)])


def pairs(reads: Sequence[Read], beta: float) -> Iterator[tuple[float, float]]:
    """The explicit and the implicit advantage of each step that has both; the last one's explicit is the luck of the outcome."""
    for read in reads:
        for step in read.steps[:-1]:
            if step.advantage is not None and step.implicit is not None:
                yield step.advantage, beta * step.implicit


def correlation(found: Sequence[tuple[float, float]]) -> float:
    """Pearson's; NaN where one of the two never changes."""
    if len(found) < 2:
        return math.nan
    x, y = np.array(found).T
    return float(np.corrcoef(x, y)[0, 1]) if x.std() and y.std() else math.nan


def _same_sign(found: Sequence[tuple[float, float]]) -> float:
    return sum(e * i > 0 for e, i in found) / len(found)


def _points(label: str, bins: Sequence[Bin], colour: int) -> Points:
    low, high = zip(*(wilson(b.true * b.count, b.count) for b in bins), strict=True)
    return Points(label, [b.predicted for b in bins], [b.true for b in bins], low, high, colour)
