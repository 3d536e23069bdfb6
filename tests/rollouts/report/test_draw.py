"""Drawing: every mark can be drawn, and the drawing fits into the page."""

from __future__ import annotations

import math

import pytest

from rollouts.report.chart import Cloud, Dots, Histogram, Line, Mark, Panel, Points
from rollouts.report.draw import GRID, INK, draw


@pytest.mark.parametrize(
    "mark",
    [
        Line("a line", [0, 1], [1, 2], low=[0, math.nan], high=[2, math.nan]),
        Points("points", [1, 2], [0.1, 0.2], [0.0, math.nan], [0.3, math.nan]),
        Histogram("lengths", [0.5, 1.5, 2.5], [0.5, 0.5]),
        Cloud("steps", [0.1], [0.2]),
    ],
    ids=lambda mark: type(mark).__name__,
)
def test_a_mark_is_drawn_with_its_name(mark: Mark) -> None:
    drawn = draw(Panel("p", "a title", "x of it", "y of it", [mark]))
    assert all(f">{text}<" in drawn.svg for text in (mark.label, "a title", "x of it", "y of it"))


def test_rows_are_drawn_with_their_names() -> None:
    drawn = draw(Panel("p", "t", "x", "", [Dots("", [0, 1], [0.5, 0.7], [0.4, 0.6], [0.6, 0.8])], ["first & <second>", "$third$"]))
    assert "first &amp; &lt;second&gt;" in drawn.svg and "$third$" in drawn.svg


def test_the_page_decides_on_colours_and_size() -> None:
    svg = draw(Panel("p", "t", "x", "y", [Line("a", [0, 1], [0, 1], colour=1)])).svg
    assert svg.startswith("<svg") and "var(--s1)" in svg and "var(--ink)" in svg
    assert not any(text in svg for text in (INK, GRID, "http://purl", "<?xml"))
    tag = svg[: svg.index(">")]
    assert "viewBox" in tag and " width=" not in tag and " height=" not in tag


def test_budgets_that_are_no_powers_of_two_are_marked() -> None:
    points = Points("tree", [1, 3, 4], [0.1, 0.2, 0.3], [0.0, 0.1, 0.2], [0.2, 0.3, 0.4])
    svg = draw(Panel("p", "t", "budget K", "y", [points], percent="y", log2=True, ticks=(1, 3, 4))).svg
    assert [number for number in "1234" if f">{number}<" in svg] == ["1", "3", "4"]
