"""Budget curves."""

from __future__ import annotations

from rollouts.report.budgets import budgets
from rollouts.report.chart import Points
from rollouts.report.inputs import CurvePoint, Curves


def point(search: str, budget: int, tokens: float | None = 10.0) -> CurvePoint:
    return CurvePoint(search, budget, budget / 10, 0.0, 1.0, tokens)


def test_a_curve_is_drawn_for_each_search_by_budget_and_by_tokens() -> None:
    found = Curves("c", [point("tree", 4, 40), point("tree", 1, 12), point("pass", 2, 20)])
    by_budget, by_tokens = budgets([found]).charts[0].panels
    marks = [mark for mark in by_budget.marks if isinstance(mark, Points)]
    assert [(mark.label, list(mark.x), list(mark.y)) for mark in marks] == [
        ("pass@K (any is right)", [2], [0.2]),
        ("tree search", [1, 4], [0.1, 0.4]),
    ]
    assert [list(mark.x) for mark in by_tokens.marks] == [[20], [12, 40]]
    assert list(by_budget.ticks) == [1, 2, 4]


def test_a_search_without_tokens_is_drawn_by_budget_only() -> None:
    assert len(budgets([Curves("c", [point("pass", 2, None)])]).charts[0].panels) == 1


def test_a_search_of_another_name_keeps_it() -> None:
    assert budgets([Curves("c", [point("mine", 2)])]).tables[0].rows[0][1] == "mine"


def test_without_curves_the_section_says_what_to_give() -> None:
    assert "curves" in budgets([]).missing
