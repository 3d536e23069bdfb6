"""ALFWorld's games on the command line.

python -m envs.alfworld generate --split train --count 500 --seed 0 --out DIR     write generated games, as the official files are
python -m envs.alfworld play [--games DIR] [--task ID]                            play one by hand
python -m envs.alfworld stats [--games DIR] [--against DIR]                       what a set of games is like, beside another
python -m envs.alfworld verify [DIR]                                              play every game's solution
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import tyro
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from envs.alfworld.engine import Source
from envs.alfworld.env import AlfWorldEnv
from envs.alfworld.export import write_games
from envs.alfworld.games import SPLITS
from envs.alfworld.generator import generated
from envs.alfworld.inspection import GameNumbers, describe, faults, holder_shares, means
from envs.alfworld.play import Game
from envs.alfworld.sources import GENERATED, find_sources
from envs.alfworld.tasks import DEFAULT_DIFFICULTY, difficulty_of
from envs.hints import choose

console = Console()


@dataclass(frozen=True)
class Generate:
    """Write generated games."""

    out: Path
    """folder of the games; upstream's AlfredTWEnv reads it as its data_path (OUT/json_2.1.1/SPLIT)"""
    split: str = "train"
    """train, valid_seen (the same floor plans), valid_unseen (others)"""
    count: int | None = None
    """number of games; default as many as the official split has"""
    seed: int = 0
    """of all chance; the same arguments give the same files"""
    difficulty: str = DEFAULT_DIFFICULTY
    """small, medium, official"""
    receptacles: int | None = None
    """instead of the difficulty's: most receptacles of a room"""
    objects: int | None = None
    """instead of the difficulty's: most things lying about besides the task's"""
    copies: int | None = None
    """instead of the difficulty's: most things of a kind"""
    task_types: tuple[str, ...] = ()
    """only these"""
    scenes: tuple[int, ...] = ()
    """only these floor plans"""


@dataclass(frozen=True)
class Games:
    """Which games."""

    games: str | None = None
    """folder, archive, game file, or "generated"; default $ALFWORLD_DATA, and generated ones without"""
    split: str = "train"
    difficulty: str | None = None
    """of generated games: small, medium, official"""


@dataclass(frozen=True)
class Play(Games):
    """Play a game by hand."""

    task: str | None = None
    """task id; default one drawn by --seed"""
    seed: int | None = None
    wording: str = "file"
    """"put" and "move" are the older and the newer release's"""
    max_steps: int | None = None
    """default what the games have"""


@dataclass(frozen=True)
class Stats(Games):
    """What a set of games is like."""

    against: str | None = None
    """another set to show beside it: a folder, an archive, or "generated" """
    sample: int = 500
    """games that are counted of each set, drawn by --seed; 0 is all"""
    seed: int = 0


@dataclass(frozen=True)
class Verify(Games):
    """Read every game and play its solutions. Exits with 1 where a game has a fault."""

    games: tyro.conf.Positional[str | None] = None  # type: ignore[assignment]
    """folder, archive, game file, or "generated"; default $ALFWORLD_DATA, and generated ones without"""
    split: str = "all"
    """one split, or all that there are"""


def generate(args: Generate) -> int:
    """Write games."""
    turned = {dial: value for dial in ("receptacles", "objects", "copies") if (value := getattr(args, dial)) is not None}
    difficulty = replace(difficulty_of(args.difficulty), **turned)
    games = generated(args.split, args.count, args.seed, difficulty, args.task_types or None, args.scenes or None)
    with _bar("generated") as bar:
        task = bar.add_task("", total=len(games))
        new = write_games(games, args.split, args.out, lambda: bar.advance(task))
    console.print(
        f"{new} new games of {len(games)} in {args.out}; play them with --games {args.out} --split {args.split}", soft_wrap=True
    )
    return 0


def play(args: Play) -> int:
    """Play by hand."""
    env = AlfWorldEnv(args.games, args.split, max_steps=args.max_steps, wording=args.wording, difficulty=args.difficulty)
    Game(env, console).play(args.task, args.seed)
    return 0


def stats(args: Stats) -> int:
    """Print tables of one or two sets of games."""
    sets = {"games": args.games} if args.against is None else {args.games or "games": args.games, args.against: args.against}
    found: dict[str, list[GameNumbers]] = {}
    for name, games in sets.items():
        difficulty = args.difficulty if games == GENERATED or args.against is None else None
        found[name if len({Path(n).name for n in sets}) < len(sets) else Path(name).name] = _counted(
            find_sources(games, args.split, difficulty=difficulty), args
        )
    console.print(_means_table(found))
    console.print(_shares_table(found))
    return 0


def verify(args: Verify) -> int:
    """Say which games have faults."""
    sources = _every(args) if args.split == "all" else find_sources(args.games, args.split, difficulty=args.difficulty)
    bad = 0
    with _bar("verified") as bar:
        for task, source in bar.track(sources.items()):
            for fault in faults(source):
                bad += 1
                bar.console.print(f"[red]{escape(task)}[/]: {escape(fault)}", soft_wrap=True)
    console.print(f"{len(sources)} games: {bad} faults")
    return 1 if bad else 0


def _every(args: Verify) -> dict[str, Source]:
    """The games of all splits that there are."""
    found: dict[str, Source] = {}
    for split in SPLITS:
        try:
            found |= find_sources(args.games, split, difficulty=args.difficulty)
        except FileNotFoundError:
            if split == SPLITS[-1] and not found:
                raise
    return found


def _counted(sources: dict[str, Source], args: Stats) -> list[GameNumbers]:
    tasks = list(sources)
    if args.sample and args.sample < len(tasks):
        tasks = Random(args.seed).sample(tasks, args.sample)
    with _bar("counted") as bar:
        return [describe(task, sources[task]) for task in bar.track(tasks)]


def _means_table(sets: dict[str, list[GameNumbers]]) -> Table:
    table = Table("mean of", "in", *(header for name in sets for header in (name, "n")))
    numbers = [means(games) for games in sets.values()]
    for quantity in numbers[0]:
        for group in dict.fromkeys(group for one in numbers for group in one[quantity]):
            cells = [one[quantity].get(group) for one in numbers]
            shown = [
                (f"{cell[1]:.2f}" if cell[1] < 1 else f"{cell[1]:.1f}", str(cell[0])) if cell else ("-", "0") for cell in cells
            ]
            table.add_row(quantity, group, *(part for pair in shown for part in pair))
        table.add_section()
    return table


def _shares_table(sets: dict[str, list[GameNumbers]]) -> Table:
    table = Table("objects lie in", *sets)
    shares = [holder_shares(games) for games in sets.values()]
    for name in shares[0]:
        table.add_row(name, *(f"{one.get(name, 0):.1%}" for one in shares))
    return table


def _bar(what: str) -> Progress:
    columns = (TextColumn(what), BarColumn(bar_width=16), MofNCompleteColumn(), TimeRemainingColumn(elapsed_when_finished=True))
    return Progress(*columns, console=console)


COMMANDS = {"generate": (Generate, generate), "play": (Play, play), "stats": (Stats, stats), "verify": (Verify, verify)}
"""Name -> its arguments, and what it does with them."""


def main(argv: Sequence[str]) -> int:
    """The command line; returns the exit status."""
    name = argv[0] if argv else ""
    if name in ("", "-h", "--help"):
        print(__doc__)
        return 0
    try:
        arguments, command = COMMANDS[choose("command", name, COMMANDS)]
        return command(tyro.cli(arguments, args=argv[1:], prog=f"python -m envs.alfworld {name}"))  # type: ignore[operator]
    except (ValueError, OSError) as error:
        console.print(f"[red]{type(error).__name__}:[/] {escape(str(error))}", soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
