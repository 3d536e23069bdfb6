"""Panels drawn by matplotlib, as SVG for the page (in the page's colours, light or dark) and as PNG for papers and slides."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from rollouts.report.chart import Cloud, Dots, Histogram, Line, Mark, Panel, Points

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#8c6d31")
"""Okabe and Ito's colours (2008), which the colour-blind can tell apart, and two more."""
DASHES = ("-", (0, (5, 1.2)), (0, (3, 1, 1, 1)), (0, (1, 1)))
"""Of the colours' lines: two that lie on each other are seen both, in print without colours too."""
INK, GRID = "#1c2024", "#d4d8dd"
STYLE = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "text.parse_math": False,  # a log's text may hold dollar signs
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.fonttype": "none",
    "font.family": "sans-serif",
}
WIDTH, HEIGHT = 4.7, 3.3
"""Inches of a panel; one with categories is wider, and as high as they need."""
LABEL = 44
"""Characters of a category's name or a legend's entry that are shown."""


@dataclass(frozen=True)
class Drawn:
    """A panel's pictures."""

    name: str
    title: str
    svg: str
    png: bytes


def draw(panel: Panel) -> Drawn:
    """Draw a panel; the same panel gives the same bytes."""
    style: dict[Any, Any] = {**STYLE, "svg.hashsalt": panel.name}
    with matplotlib.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # the page's fonts have more than matplotlib's
        beside = sum(isinstance(mark, Dots) for mark in panel.marks)
        rows = len(panel.categories) * (0.3 if beside < 2 else 0.14 + 0.14 * beside)
        size = (6.4, 1.2 + rows) if panel.categories else (WIDTH, HEIGHT)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot()
        for mark in panel.marks:
            _mark(axes, mark, beside, list(panel.marks).index(mark))
        _dress(axes, panel)
        handles, labels = axes.get_legend_handles_labels()
        if len(handles) > 1 or (handles and not panel.categories):
            figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 3 if panel.categories else 2))
        svg, png = io.StringIO(), io.BytesIO()
        figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
        figure.savefig(png, format="png", dpi=160, facecolor="white", metadata={"Software": None})
    return Drawn(panel.name, panel.title, themed(svg.getvalue()), png.getvalue())


def themed(svg: str) -> str:
    """An SVG for use inside the page: without its prologue, as wide as it may be, in colours that the page decides."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    for index, colour in enumerate(PALETTE):
        svg = svg.replace(colour, f"var(--s{index})")
    return svg.replace(INK, "var(--ink)").replace(GRID, "var(--grid)")


def _mark(axes: Axes, mark: Mark, of: int, number: int) -> None:
    colour = PALETTE[mark.colour % len(PALETTE)]
    label = _short(mark.label) or "_"  # matplotlib leaves what begins so out of the legend
    match mark:
        case Line():
            if mark.low is not None and mark.high is not None:
                axes.fill_between(mark.x, mark.low, mark.high, color=colour, alpha=0.2, linewidth=0)
            width, alpha, dashes = (0.8, 0.3, "-") if mark.faint else (1.8, 1.0, DASHES[mark.colour % len(DASHES)])
            axes.plot(mark.x, mark.y, color=colour, label=label, alpha=alpha, linewidth=width, linestyle=dashes)
        case Points():
            reach = _reach(mark.y, mark.low, mark.high)
            axes.errorbar(mark.x, mark.y, reach, color=colour, label=label, marker="o", markersize=4.5, linewidth=1, capsize=2.5)
        case Dots():
            # Several marks of a row lie beside each other.
            places = [row + (number - (of - 1) / 2) * 0.8 / max(of, 1) * (of > 1) for row in mark.rows]
            reach = _reach(mark.x, mark.low, mark.high)
            axes.errorbar(mark.x, places, xerr=reach, color=colour, label=label, fmt="o", markersize=5, linewidth=1.4, capsize=2.5)
        case Histogram():
            axes.stairs(mark.shares, mark.edges, color=colour, label=label, linewidth=1.6)
            axes.stairs(mark.shares, mark.edges, color=colour, alpha=0.2, fill=True)
        case Cloud():
            axes.scatter(mark.x, mark.y, color=colour, label=label, s=10, alpha=0.45, linewidths=0)


def _dress(axes: Axes, panel: Panel) -> None:
    axes.set_title(panel.title, loc="left")
    axes.set_xlabel(panel.x)
    axes.set_ylabel(panel.y)
    if panel.categories:
        axes.set_yticks(range(len(panel.categories)), [_short(name) for name in panel.categories])
        axes.set_ylim(len(panel.categories) - 0.5, -0.5)
        axes.grid(False, axis="y")
        if panel.bounds:
            axes.set_xlim(*panel.bounds)
    elif panel.bounds:
        axes.set_ylim(*panel.bounds)
    for place in panel.across:
        (axes.axvline if panel.categories else axes.axhline)(place, color=INK, linestyle="--", linewidth=0.8, alpha=0.6)
    if panel.diagonal:
        axes.axline((0, 0), slope=1, color=INK, linestyle="--", linewidth=0.8, alpha=0.6)
        axes.set_xlim(panel.bounds)  # both axes alike, where they have bounds
    if panel.log2:
        axes.set_xscale("log", base=2)
        if panel.ticks:
            axes.set_xticks(panel.ticks)
        axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    elif "x" not in panel.percent:
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=_whole(panel)))
    if "x" in panel.percent:
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    if "y" in panel.percent:
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    if panel.backwards:
        axes.invert_xaxis()


def _whole(panel: Panel) -> bool:
    """Whether x counts something."""
    found = [x for mark in panel.marks if not isinstance(mark, Histogram) for x in mark.x]
    return all(float(x).is_integer() for x in found)


def _reach(middle: Sequence[float], low: Sequence[float], high: Sequence[float]) -> list[list[float]]:
    """How far intervals reach to both sides; rounding must not make that negative."""
    triples = list(zip(middle, low, high, strict=True))
    return [[max(0.0, m - a) for m, a, _ in triples], [max(0.0, b - m) for m, _, b in triples]]


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LABEL else f"{text[: LABEL // 2]}…{text[-(LABEL // 2 - 1) :]}"
