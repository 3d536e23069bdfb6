"""A part of the page as data: charts, tables, episodes, or what to give where there is nothing to show."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

from rollouts.report.chart import Chart

if TYPE_CHECKING:
    from rollouts.report.gallery import Shown

NUMBER = re.compile(r"[-+–−<\d.,%\[\]() /]*")


@dataclass(frozen=True)
class Table:
    """Texts in rows; units stand in the columns' names."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    @property
    def numeric(self) -> list[bool]:
        """Which columns hold numbers only."""
        return [all(NUMBER.fullmatch(row[i]) for row in self.rows) for i in range(len(self.columns))]


@dataclass(frozen=True)
class Section:
    """A part of the page."""

    id: str
    title: str
    lead: str = ""
    charts: Sequence[Chart] = ()
    tables: Sequence[Table] = ()
    episodes: Sequence[Shown] = field(default_factory=tuple)
    missing: str = ""
    """what to give, where there is nothing to show"""

    @property
    def groups(self) -> list[tuple[str, list[Shown]]]:
        """The episodes, those that are shown for one reason together."""
        return [(why, list(own)) for why, own in groupby(self.episodes, lambda shown: shown.why)]


def share(value: float) -> str:
    """A fraction in percent."""
    return "–" if math.isnan(value) else f"{value:.1%}"


def number(value: float | None, digits: int = 3) -> str:
    """A number, or a dash where there is none."""
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def signed(value: float, digits: int = 3) -> str:
    """A number with its sign."""
    return "–" if math.isnan(value) else f"{value:+.{digits}f}"


def interval(low: float, high: float, digits: int = 3) -> str:
    """Two bounds with their signs."""
    return "–" if math.isnan(low) or math.isnan(high) else f"[{low:+.{digits}f}, {high:+.{digits}f}]"


def shares(low: float, high: float) -> str:
    """Two bounds in percent."""
    return "–" if math.isnan(low) or math.isnan(high) else f"[{low:.1%}, {high:.1%}]"


def signed_shares(low: float, high: float) -> str:
    """Two bounds in percent, with their signs."""
    return "–" if math.isnan(low) or math.isnan(high) else f"[{low:+.1%}, {high:+.1%}]"
