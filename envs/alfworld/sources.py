"""Where the games of an environment come from: files of a folder, an archive or a list, or the generator."""

from __future__ import annotations

import functools
import os
import re
import zlib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gymnasium import logger

from envs.alfworld.engine import Source
from envs.alfworld.games import HOME, SPLITS, VARIABLE, find_games
from envs.alfworld.generator import generated
from envs.alfworld.tasks import Difficulty

GENERATED = "generated"
"""The value of `games` that asks for the generator."""


@dataclass(frozen=True)
class GameFile:
    """A game on disk."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def max_steps(self) -> int:
        """What the papers give an episode; a file does not say."""
        return 40

    def version(self) -> Hashable:
        """Changes when the file does."""
        stat = os.stat(self.path)
        return stat.st_mtime_ns, stat.st_size

    def read(self) -> str:
        """The text of the file."""
        return self.path.read_text("utf-8")


def find_sources(
    games: str | Path | Sequence[str | Path] | Mapping[str, Source] | None = None,
    split: str = "train",
    task_types: Sequence[str] | None = None,
    scenes: Sequence[int] | None = None,
    difficulty: str | Mapping[str, int | None] | Difficulty | None = None,
    count: int | None = None,
    fold: str | None = None,
) -> dict[str, Source]:
    """The games of a split by task id, sorted.

    `games` is "generated", what `envs.alfworld.games.find_games` takes, or games by task id, which are taken as they are. None
    means the files of `$ALFWORLD_DATA` or `~/.cache/alfworld`, and generated games where there are none. `difficulty` turns the
    generator's dials, and `count` is how many games it makes (None: the official number).

    `fold` keeps a part of them: "0/20" those whose task id has the CRC-32 0 modulo 20, and "1-19/20" all others, on any machine. So
    training tasks are held out to choose by, and a study plays the same few hundred every time.

    Raises ValueError for an unknown split, task type or difficulty, a difficulty or count for games that are files, or a fold that
    is none or has no game; FileNotFoundError where no game is found.
    """
    sources = _all_sources(games, split, task_types, scenes, difficulty, count)
    if fold is None:
        return sources
    first, last, of = _read_fold(fold)
    found = {task: source for task, source in sources.items() if first <= zlib.crc32(task.encode()) % of <= last}
    if not found:
        raise ValueError(f"fold={fold!r} has none of the {len(sources)} games: take a larger part")
    return found


def _read_fold(fold: str) -> tuple[int, int, int]:
    """The first and last remainder, and the divisor."""
    parts = re.fullmatch(r"(\d+)(?:-(\d+))?/(\d+)", str(fold))
    first, last, of = (int(part) for part in (parts[1], parts[2] or parts[1], parts[3])) if parts else (0, 0, 0)
    if not first <= last < of:
        raise ValueError(f"fold={fold!r}: wanted K/N or K-L/N with K <= L < N, such as 0/20 or 1-19/20")
    return first, last, of


def _all_sources(
    games: str | Path | Sequence[str | Path] | Mapping[str, Source] | None,
    split: str,
    task_types: Sequence[str] | None,
    scenes: Sequence[int] | None,
    difficulty: str | Mapping[str, int | None] | Difficulty | None,
    count: int | None,
) -> dict[str, Source]:
    if isinstance(games, Mapping):
        return dict(games)
    if games == GENERATED or (games is None and not _downloaded()):
        if games is None:
            _say_generated()
        return dict(generated(split, count, difficulty=difficulty, task_types=task_types, scenes=scenes))
    for name, dial in (("difficulty", difficulty), ("count", count)):
        if dial is not None:
            raise ValueError(f"{name}={dial!r} is the generator's, and these games are files: leave it out, or games={GENERATED!r}")
    return {task: GameFile(path) for task, path in find_games(games, split, task_types, scenes).items()}


def _downloaded() -> bool:
    return bool(os.environ.get(VARIABLE)) or any((HOME / name).is_dir() for name in ("json_2.1.1", *SPLITS))


@functools.cache
def _say_generated() -> None:
    """Once a process: whoever meant the official games must not take these for them."""
    logger.warn(
        "AlfWorld: $%s is not set and %s has no games, so generated ones are played. games=%r asks for them without this warning.",
        VARIABLE, HOME, GENERATED,
    )  # fmt: skip
