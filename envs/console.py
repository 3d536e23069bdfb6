"""The command line of an environment's problem sources: list, show, play, stats, check.

`python -m envs.math_reason` and `python -m envs.commonsense` call `main`. A SPEC is a source and a split ("math/test";
without a split "train", or the first that there is), or a file.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Column, Table

from envs.describe import Numbers, describe
from envs.files import DATA_VARIABLE, Source, is_path, locate
from envs.hints import choose
from envs.math_reason.overlap import KINDS, Pair, overlaps
from envs.play import Solving
from envs.problem_env import DELIMITERS, ProblemEnv
from envs.problems import Problem, ProblemSet

console = Console()


@dataclass(frozen=True)
class Domain:
    """The sources of one environment: the module's name, its published sets, its generators, and `load`."""

    module: str
    sources: Mapping[str, Source]
    generators: Sequence[str]
    load: Callable[..., ProblemSet]

    def problems(self, spec: str, data_dir: Path | None, split: str | None = None) -> ProblemSet:
        """Return the problems of a SPEC (see the module); ValueError or OSError where it names none."""
        name, _, named = spec.partition("/")
        known = name in self.sources or name in self.generators or name.partition(":")[0] in self.generators
        if Path(spec).is_file() or (not known and is_path(spec)):
            return self.load(spec, split or "train", data_dir)
        splits = self.sources[name].splits if name in self.sources else ("train", "valid", "test")
        return self.load(name, split or named or splits[0], data_dir)


@dataclass(frozen=True)
class List:
    """Every source, its splits, how many problems its files hold, and where they were looked for."""

    data_dir: Path | None = None
    """default $REASONING_DATA"""


@dataclass(frozen=True)
class Show:
    """Print problems with their worked solutions and answers."""

    source: tyro.conf.Positional[str]
    """a SPEC"""
    split: str | None = None
    task: str | None = None
    """id, or index from 0; default the first ones"""
    count: int = 3
    data_dir: Path | None = None
    """default $REASONING_DATA"""


@dataclass(frozen=True)
class Play:
    """Solve a problem by hand."""

    source: tyro.conf.Positional[str] = ""
    """a SPEC; default a generated one"""
    split: str | None = None
    task: str | None = None
    """id, or index from 0; default one drawn by --seed"""
    seed: int | None = None
    segment: str = "lines"
    """the rule that ends a step: lines, sentences or blank"""
    data_dir: Path | None = None
    """default $REASONING_DATA"""


@dataclass(frozen=True)
class Stats:
    """Lengths, steps, kinds of answers, levels, subjects."""

    sources: tyro.conf.Positional[tuple[str, ...]]
    """SPECs, one column each"""
    data_dir: Path | None = None
    """default $REASONING_DATA"""


@dataclass(frozen=True)
class Check:
    """Find problems of TEST that are in TRAIN: the same, with other numbers, or nearly the same."""

    train: tyro.conf.Positional[str]
    """a SPEC"""
    test: tyro.conf.Positional[str]
    """a SPEC"""
    threshold: float = 0.7
    """least share of common word triples (Jaccard) of near duplicates"""
    show: int = 5
    """most alike pairs to print of each kind"""
    out: Path | None = None
    """write all pairs here, as JSON lines"""
    data_dir: Path | None = None
    """default $REASONING_DATA"""


def list_sources(domain: Domain, args: List) -> int:
    """Print the table of sources."""
    folder = args.data_dir or os.environ.get(DATA_VARIABLE)
    console.print(f"Files are looked for in {folder or f'${DATA_VARIABLE}, which is not set'}.", soft_wrap=True)
    table = Table("source", "split", "problems", "file, or where else it is had")
    for name in domain.generators:
        table.add_row(name, "all three", "any", "made on demand")
    for name, source in domain.sources.items():
        for number, split in enumerate(source.splits):
            path, _ = locate(source, split, args.data_dir)
            count = str(len(domain.load(name, split, args.data_dir))) if path else "-"
            elsewhere = f"hub: {source.hub.repository}" if source.hub else "not here"
            table.add_row("" if number else name, split, count, str(path.relative_to(str(folder))) if path else elsewhere)
    console.print(table)
    return 0


def show(domain: Domain, args: Show) -> int:
    """Print problems."""
    problems = domain.problems(args.source, args.data_dir, args.split)
    if args.task is None:
        if args.count < 1:
            raise ValueError(f"count={args.count}: wanted at least 1")
        chosen = problems[: args.count]
    else:
        chosen = [problems[_place(problems, args.task)]]
    for problem in chosen:
        _print_problem(problem)
    return 0


def play(domain: Domain, args: Play) -> int:
    """Put a problem."""
    problems = domain.problems(args.source or domain.generators[0], args.data_dir, args.split)
    task = None if args.task is None else _place(problems, args.task)
    Solving(ProblemEnv(problems, segment=args.segment), console).play(task, args.seed)
    return 0


def _place(problems: ProblemSet, task: str) -> int:
    """Return the index of a task id, or of a number below the count that is no id."""
    number = task.isdecimal() and task not in problems.tasks
    if number and int(task) >= len(problems):
        raise ValueError(f"task {task} is out of range: wanted an index from 0 to {len(problems) - 1}, or an id")
    return int(task) if number else problems.find(task)


def _print_problem(problem: Problem) -> None:
    known = "  ".join(f"{name} {value}" for name, value in problem.info.items())
    console.rule(f"[bold]{escape(problem.id)}[/]  [dim]{escape(known)}[/]", align="left")
    for name, text in (("question", problem.question), ("solution", problem.solution), ("answer", problem.answer)):
        console.print(f"[cyan]{name}[/]\n{escape(text)}", highlight=False)


def stats(domain: Domain, args: Stats) -> int:
    """Print the table of numbers, a column for each set."""
    if not args.sources:
        raise ValueError(f"no source: wanted one or more, such as: python -m {domain.module} stats {next(iter(domain.sources))}")
    found = [describe(domain.problems(spec, args.data_dir)[:]) for spec in args.sources]
    table = Table(Column("", no_wrap=True), *map(escape, args.sources))
    rows: dict[str, Callable[[Numbers], Any]] = {
        "problems": lambda n: n.problems,
        "question words: median, max": lambda n: _pair(n.question),
        "solution words: median, max": lambda n: _pair(n.solution),
        **{f"steps by {rule}: median, max": partial(_steps, rule) for rule in DELIMITERS},
    }
    for name, cell in rows.items():
        table.add_row(name, *(str(cell(numbers)) for numbers in found))
    for name in ("answers", "levels", "subjects"):
        _add_counts(table, name, [getattr(numbers, name) for numbers in found])
    console.print(table)
    return 0


def _steps(rule: str, numbers: Numbers) -> str:
    return _pair(numbers.steps[rule])


def _pair(spread: tuple[float, int]) -> str:
    return f"{spread[0]:g}, {spread[1]}"


def _add_counts(table: Table, name: str, counts: list[Counter[Any]]) -> None:
    """Add a section with a row for each value that one of the sets has."""
    table.add_section()
    for value in sorted({value for one in counts for value in one}, key=str):
        table.add_row(f"{name}: {escape(str(value))}", *(str(one[value]) if one[value] else "" for one in counts))


def check(domain: Domain, args: Check) -> int:
    """Print how much of TEST is in TRAIN."""
    train, test = (domain.problems(spec, args.data_dir)[:] for spec in (args.train, args.test))
    bar = partial(track, description="compared", console=console, transient=True)
    pairs = overlaps([p.question for p in train], [p.question for p in test], args.threshold, bar)
    table = Table("kind", "pairs", f"problems of {escape(args.test)}", "share")
    for kind in KINDS:
        _add_kind(table, kind, [pair for pair in pairs if pair.kind == kind], len(test))
    table.add_section()
    _add_kind(table, "any", pairs, len(test))
    console.print(table)
    for kind in KINDS:
        for pair in [pair for pair in pairs if pair.kind == kind][: max(args.show, 0)]:
            _print_pair(pair, train[pair.train], test[pair.test])
    if args.out:
        _write(args.out, pairs, train, test)
        console.print(f"{len(pairs)} pairs in {args.out}", soft_wrap=True)
    return 0


def _add_kind(table: Table, kind: str, pairs: list[Pair], count: int) -> None:
    hit = len({pair.test for pair in pairs})
    table.add_row(kind, str(len(pairs)), f"{hit} of {count}", f"{hit / count:.1%}")


def _print_pair(pair: Pair, train: Problem, test: Problem) -> None:
    console.rule(f"{pair.kind} {pair.similarity:.2f}", align="left")
    for problem in (train, test):
        text = " ".join(problem.question.split())
        console.print(f"[bold]{escape(problem.id)}[/] {escape(text[:200])}{'...' if len(text) > 200 else ''}", highlight=False)


def _write(path: Path, pairs: Iterable[Pair], train: Sequence[Problem], test: Sequence[Problem]) -> None:
    with open(path, "w", encoding="utf-8") as file:
        for pair in pairs:
            a, b = train[pair.train], test[pair.test]
            row = {"kind": pair.kind, "similarity": round(pair.similarity, 4), "train": a.id, "test": b.id}
            file.write(json.dumps({**row, "train_question": a.question, "test_question": b.question}, ensure_ascii=False) + "\n")


COMMANDS: dict[str, tuple[type, Callable[..., int]]] = {
    "list": (List, list_sources),
    "show": (Show, show),
    "play": (Play, play),
    "stats": (Stats, stats),
    "check": (Check, check),
}
"""Name -> its arguments, and what it does with them."""


def main(domain: Domain, usage: str, argv: Sequence[str]) -> int:
    """The command line; returns the exit status: 0, or 2 after one line on stderr that says what is wrong."""
    name = argv[0] if argv else ""
    if name in ("", "-h", "--help"):
        print(usage)
        return 0
    try:
        arguments, command = COMMANDS[choose("command", name, COMMANDS)]
        return command(domain, tyro.cli(arguments, args=argv[1:], prog=f"python -m {domain.module} {name}"))
    except (ValueError, OSError, ModuleNotFoundError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
