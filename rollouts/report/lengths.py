"""How long solved and other episodes are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rollouts.report.chart import LOST, WON, Chart, Histogram, Panel
from rollouts.report.facts import Facts
from rollouts.report.section import Section, Table, number

BINS = 24
"""At most, of a histogram."""


def lengths(facts: Sequence[Facts]) -> Section:
    """The section, of the given logs."""
    panels, rows = [], []
    for index, found in enumerate(facts):
        solved = np.frombuffer(bytes(found.solved), "u1").astype(bool)
        for unit, counts in (("steps", np.asarray(found.steps)), ("tokens", np.asarray(found.tokens))):
            known = counts >= 0
            if not known.any():
                continue
            won, lost = counts[known & solved], counts[known & ~solved]
            panels.append(
                Panel(
                    f"length-{unit}-{index + 1}",
                    found.log.name,
                    f"{unit} of an episode",
                    "share of episodes",
                    histograms(won, lost),
                    percent="y",
                )
            )
            rows.append([found.log.name, unit, *_quartiles(won), *_quartiles(lost)])
    columns = ["log", "of", "solved: 25%", "median", "75%", "not solved: 25%", "median", "75%"]
    caption = "Each curve adds up to 100%: where one lies above the other, episodes of that length end more often in that way."
    return Section("lengths", "Lengths of episodes", "", [Chart(caption, panels)], [Table("Quartiles of lengths", columns, rows)])


def histograms(won: np.ndarray, lost: np.ndarray) -> list[Histogram]:
    """The shares of solved and of other episodes by length, over the same edges; int [n] each, one of them may be empty."""
    both = np.concatenate([won, lost])
    width = max(1, -(-int(both.max() - both.min() + 1) // BINS))
    edges = np.arange(both.min(), both.max() + width + 1, width) - 0.5
    found = []
    for label, colour, own in (("solved", WON, won), ("not solved", LOST, lost)):
        if len(own):
            counts, _ = np.histogram(own, edges)
            found.append(Histogram(f"{label} ({len(own):,})", edges.tolist(), (counts / len(own)).tolist(), colour))
    return found


def _quartiles(own: np.ndarray) -> list[str]:
    return [number(float(q), 0) for q in np.quantile(own, [0.25, 0.5, 0.75])] if len(own) else ["–"] * 3
