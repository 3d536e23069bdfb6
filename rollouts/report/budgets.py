"""What searches make of their budgets."""

from __future__ import annotations

from collections.abc import Sequence

from rollouts.report.chart import Chart, Panel, Points
from rollouts.report.inputs import CurvePoint, Curves
from rollouts.report.section import Section, Table, number, share, shares

NAMES = {
    "pass": "pass@K (any is right)",
    "vote": "majority vote",
    "value-vote": "vote weighted by V",
    "best-response": "best of K responses by V",
    "best-action": "best of K actions by V",
    "beam": "beam of K",
    "tree": "tree search",
}
"""What a search is called, in the order of their colours."""


def budgets(curves: Sequence[Curves]) -> Section:
    """The section."""
    title = "Search budgets"
    curves = [found for found in curves if found.points]
    if not curves:
        missing = (
            'Give a JSON file with "curves", as python -m rollouts.evaluate writes of several budgets, or put it into '
            "RUN/evaluation/."
        )
        return Section("search", title, missing=missing)
    panels, rows = [], []
    for index, found in enumerate(curves, 1):
        by_budget = [_points(found, search, [p.budget for p in own], own) for search, own in _by_search(found)]
        ticks = sorted({point.budget for point in found.points})
        panels.append(
            Panel(f"budget-{index}", found.name, "budget K", "solved tasks", by_budget, percent="y", log2=True, ticks=ticks)
        )
        by_tokens = [
            _points(found, search, [p.tokens or 0.0 for p in own], own)
            for search, own in _by_search(found)
            if all(point.tokens for point in own)
        ]
        if by_tokens:
            panels.append(
                Panel(f"budget-tokens-{index}", found.name, "tokens an episode", "solved tasks", by_tokens, percent="y", log2=True)
            )
        rows += [
            [
                found.name,
                NAMES.get(p.search, p.search),
                f"{p.budget:g}",
                share(p.success),
                shares(p.low, p.high),
                number(p.tokens, 0),
            ]
            for _, own in _by_search(found)
            for p in own
        ]
    caption = (
        "A curve that still rises is worth a larger budget; at equal tokens the higher one is the better use of them. Bars are 95%."
    )
    columns = ["file", "search", "budget K", "success", "95% interval", "tokens an episode"]
    return Section("search", title, "", [Chart(caption, panels)], [Table("Success by search and budget", columns, rows)])


def _by_search(found: Curves) -> list[tuple[str, list[CurvePoint]]]:
    names = sorted({point.search for point in found.points}, key=lambda name: (name not in NAMES, [*NAMES, name].index(name), name))
    return [(name, sorted((p for p in found.points if p.search == name), key=lambda p: p.budget)) for name in names]


def _points(found: Curves, search: str, x: Sequence[float], own: Sequence[CurvePoint]) -> Points:
    order = [name for name, _ in _by_search(found)]
    colour = [*NAMES].index(search) if search in NAMES else order.index(search)
    return Points(NAMES.get(search, search), x, [p.success for p in own], [p.low for p in own], [p.high for p in own], colour)
