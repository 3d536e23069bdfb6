"""A chart as data: what is drawn, in numbers, so that the numbers can be tested and the drawing is in one place (`draw.py`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

WON, LOST = 0, 1
"""The colours of solved episodes and of others."""


@dataclass(frozen=True)
class Line:
    """A line through n points, with a band where there are bounds; `colour` is a number of the palette."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    colour: int = 0
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    faint: bool = False
    """what lies behind a smoothed line"""


@dataclass(frozen=True)
class Points:
    """n points with intervals, joined by a thin line."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    colour: int = 0


@dataclass(frozen=True)
class Dots:
    """Values with intervals in some of a panel's rows; `rows` are numbers of its categories."""

    label: str
    rows: Sequence[int]
    x: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    colour: int = 0


@dataclass(frozen=True)
class Histogram:
    """Shares (fractions) of what lies between n + 1 edges."""

    label: str
    edges: Sequence[float]
    shares: Sequence[float]
    colour: int = 0


@dataclass(frozen=True)
class Cloud:
    """n points without intervals."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    colour: int = 0


Mark = Line | Points | Dots | Histogram | Cloud


@dataclass(frozen=True)
class Panel:
    """One picture: axes with their units, and what is on them."""

    name: str
    """of its PNG file, without the ending"""
    title: str
    x: str
    y: str
    marks: Sequence[Mark]
    categories: Sequence[str] = ()
    """names of the rows, from above, where `marks` are dots"""
    percent: str = ""
    """the axes that are shown in percent: "x", "y" or "xy" """
    bounds: tuple[float, float] | None = None
    """of the y axis, or of the x axis where there are categories"""
    across: Sequence[float] = ()
    """where dashed lines lie: at these y, or at these x where there are categories"""
    diagonal: bool = False
    """whether y = x is drawn"""
    log2: bool = False
    """whether x grows by doubling"""
    ticks: Sequence[float] = ()
    """the marked x; () for even ones"""
    backwards: bool = False
    """whether x falls to the right"""


@dataclass(frozen=True)
class Chart:
    """Panels that are read alike, and the sentence that says how."""

    caption: str
    panels: Sequence[Panel] = field(default_factory=tuple)
