"""One page of pictures of runs and logs: how training went, what it brought, and what a critic says along the episodes.

    python -m rollouts.report out/oreo-math-0 --out report        # report/index.html, and its pictures as PNG files

Any number of run directories, logs and JSON files with budget curves. V comes from each run's own critic, from --critic, or from
the log itself. The page is one file that needs nothing else to be seen.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import tyro
from rich.progress import Progress

from rollouts.cli import run
from rollouts.progress import bar_columns, console
from rollouts.report.along import entropy_along, values_along
from rollouts.report.budgets import budgets
from rollouts.report.calibration import agreement, calibration
from rollouts.report.credits import credits
from rollouts.report.facts import Facts, facts_of
from rollouts.report.gallery import gallery
from rollouts.report.inputs import Inputs, gather
from rollouts.report.learning import learning
from rollouts.report.lengths import lengths
from rollouts.report.readings import Choice, ReadLog, read_logs
from rollouts.report.results import pairs_of, results
from rollouts.report.section import Section, Table

if TYPE_CHECKING:
    from rollouts.report.chart import Panel
    from rollouts.report.draw import Drawn


@dataclass(frozen=True)
class Args:
    """Make a report."""

    inputs: tyro.conf.Positional[tuple[Path, ...]]
    """run directories, logs, and JSON files with "curves" """
    out: Path
    """the report's folder; an earlier report there is replaced"""
    episodes: int = 500
    """most episodes of a log that V is read along, chosen by hash"""
    gallery: int = 3
    """episodes of each kind that are shown token by token"""
    critic: str | None = None
    """a checkpoint with a value head; default: each run's own"""
    reference: str | None = None
    """the model that the critic's policy is compared with; default: the one its training started from"""
    base: str | None = None
    """where the base model of a LoRA checkpoint lies now"""

    def __post_init__(self) -> None:
        """Raises ValueError for numbers that make no sense."""
        if self.episodes < 1 or self.gallery < 0:
            raise ValueError(f"--episodes must be at least 1 and --gallery at least 0, got {self.episodes} and {self.gallery}")
        if not self.inputs:
            raise ValueError("nothing to report of: give run directories, logs, or JSON files with curves")


def report(args: Args) -> Path:
    """Write a report; returns its page.

    Raises:
        FileNotFoundError, ValueError, LogError: as `gather`, `facts_of`, `read_logs` and `page.check_out`; or matplotlib or
            Jinja2 is not installed.
    """
    page, draw = _extra()
    page.check_out(args.out)
    given = gather(args.inputs)
    facts = [facts_of(log, args.episodes) for log in given.logs]
    reads = read_logs(given, facts, Choice(args.critic, args.reference, args.base, args.episodes))
    shown, scales = gallery(reads, args.gallery)
    sections = [*_sections(given, facts, reads), shown]
    panels = [panel for section in sections for chart in section.charts for panel in chart.panels]
    pictures = {}
    with Progress(*bar_columns("drawing", "pictures"), console=console) as bar:
        for panel in bar.track(panels):
            pictures[panel.name] = draw(panel)
    page.write(args.out, page.render(page.Heading(*_heading(given, facts, reads)), sections, pictures, scales), pictures)
    return args.out / "index.html"


def _extra() -> tuple[ModuleType, Callable[[Panel], Drawn]]:
    """What writes the page and what draws. Raises ValueError where their packages are not there."""
    try:
        from rollouts.report import page
        from rollouts.report.draw import draw
    except ImportError as error:
        raise ValueError(f"a report needs matplotlib and Jinja2 ({error}): pip install 'reasoning-gym-offline[report]'") from error
    return page, draw


def _sections(given: Inputs, facts: Sequence[Facts], reads: Sequence[ReadLog]) -> list[Section]:
    valued = [replace(log, reads=known) for log in reads if (known := [read for read in log.reads if read.known])]
    mains = {id(log) for log in [run.main_log() for run in given.runs] + [log for log in given.logs if not log.run]}
    told = [found for found in facts if id(found.log) in mains]
    stages = [stage for each in given.runs for stage in each.stages]
    made: list[Callable[[], Section]] = [
        lambda: results(given, facts, pairs_of(given, facts)),
        lambda: learning(stages),
        lambda: entropy_along(told),
        lambda: lengths(told),
        lambda: values_along(valued),
        lambda: credits(valued),
        lambda: calibration(valued),
        lambda: agreement(valued),
        lambda: budgets(given.curves),
    ]
    return [make() for make in made]


def _heading(given: Inputs, facts: Sequence[Facts], reads: Sequence[ReadLog]) -> tuple[str, list[tuple[str, str]], Table]:
    names = [run.name for run in given.runs] + [log.name for log in given.logs if not log.run] + [c.name for c in given.curves]
    title = "Report on " + (", ".join(names) if len(names) <= 3 else f"{names[0]} and {len(names) - 1} more")
    seeds = sorted(set[int]().union(*(found.seeds for found in facts)))
    lines = [
        ("environments", ", ".join(dict.fromkeys(env for found in facts for env in found.env_ids)) or "none"),
        ("runs", str(len(given.runs))),
        ("logs", str(len(given.logs))),
        ("episodes", f"{sum(found.tally.episodes for found in facts):,}"),
        ("seeds of episodes", _span(seeds)),
        *(("V could not be read", fault) for fault in dict.fromkeys(log.fault for log in reads if log.fault)),
    ]
    rows = [_file(found) for found in facts]
    rows += [(c.name, c.env or "–", _short(c.env_args), c.agent or "–", _sampling(c.sampling), "–", "–") for c in given.curves]
    columns = ["log or file", "environment", "its arguments", "agent", "sampling", "episodes", "seeds"]
    return title, lines, Table("Files, and what their headers say", columns, rows)


def _file(found: Facts) -> tuple[str, ...]:
    header = found.headers[0]
    return (
        found.log.name,
        ", ".join(found.env_ids),
        _short(header.env_args),
        ", ".join(found.agents),
        _sampling(header.sampling),
        f"{found.tally.episodes:,}",
        _span(sorted(found.seeds)),
    )


def _sampling(settings: dict[str, object]) -> str:
    return _short({key: value for key, value in settings.items() if (key, value) not in (("top_p", 1.0), ("top_k", 0))})


def _short(settings: dict[str, object]) -> str:
    return ", ".join(f"{key} {value if isinstance(value, str) else json.dumps(value)}" for key, value in settings.items()) or "–"


def _span(seeds: Sequence[int]) -> str:
    if len(seeds) > 4 and seeds[-1] - seeds[0] == len(seeds) - 1:
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds[:8])) + (f" and {len(seeds) - 8} more" if len(seeds) > 8 else "") or "none"


def main(args: Args) -> None:
    """The command line."""
    console.print(f"{report(args)}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    run(lambda: main(tyro.cli(Args)))
