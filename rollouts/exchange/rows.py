"""Rows of other people's files: JSON lines, a JSON array, either of them gzipped, or Parquet; each with where it stands."""

from __future__ import annotations

import gzip
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import msgspec
import tyro
from msgspec.structs import replace

import envs
from rollouts.exchange.files import Count, need, watched, write_log
from rollouts.exchange.messages import Cut
from rollouts.trajectory import End, Header, Step, Trajectory

T = TypeVar("T")


@dataclass(frozen=True)
class RowsImport:
    """What every import of rows is told."""

    files: tyro.conf.Positional[tuple[Path, ...]]
    """JSON lines or a JSON array, plain or .gz, or .parquet"""
    env: str
    """the environment that the episodes are said to be of: alfworld, math, commonsense or any id"""
    out: Path
    """the log"""
    agent: str = "imported"
    """the agent's name in the log"""


@dataclass(frozen=True)
class CutImport(RowsImport):
    """Messages may be cut into steps, too."""

    cut: Cut = "none"
    """how an assistant's message becomes steps: as it is, or cut by a rule (maths: lines)"""


def rows_of(path: Path) -> Iterator[tuple[str, Any]]:
    """(where, row) of a file, by what it holds.

    Raises:
        ValueError: a line that is no JSON, with file and line, or no such format.
    """
    if path.suffix == ".parquet":
        yield from _parquet(path)
        return
    with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
        try:
            yield from _json(path, file)
        except gzip.BadGzipFile as error:
            raise ValueError(f"{path}: {error}; wanted JSON, plain or gzipped, or a .parquet file") from error


def _json(path: Path, file: BinaryIO | gzip.GzipFile) -> Iterator[tuple[str, Any]]:
    blank = 0
    while (first := file.readline()).isspace():
        blank += 1
    if first.lstrip().startswith(b"["):
        for number, row in enumerate(_parsed(first + file.read(), str(path)), 1):
            yield f"{path}: row {number}", row
        return
    for number, line in enumerate(chain([first], file), blank + 1):
        if line.strip():
            yield f"{path}:{number}", _parsed(line, f"{path}:{number}")


def _parsed(text: bytes, where: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{where}: {error}; wanted JSON") from error


def _parquet(path: Path) -> Iterator[tuple[str, Any]]:
    pa, pq = need("pyarrow", "hub"), need("pyarrow.parquet", "hub")
    try:
        file = pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path} is no Parquet file: {error}") from error
    number = 0
    for batch in file.iter_batches(1000):
        for row in batch.to_pylist():
            number += 1
            yield f"{path}: row {number}", row


def checked(row: Any, kind: type[T], where: str, wanted: str) -> T:
    """A row as what it should be. Raises ValueError with where, which field, and what was wanted."""
    try:
        return msgspec.convert(row, kind)
    except msgspec.ValidationError as error:
        raise ValueError(f"{where}: {error}; wanted {wanted}") from error


def finite(name: str, number: float) -> float:
    """The number. Raises ValueError where it is infinite or none."""
    if not math.isfinite(number):
        raise ValueError(f"{name} is {number}, wanted a finite number")
    return number


def import_rows(args: RowsImport, kind: type[T], wanted: str, episode: Callable[[T, Any], tuple[Header, Trajectory]]) -> Count:
    """Write a log with an episode for each row of the files, whole or not at all. Shows a bar.

    Args:
        args: the files, and the log.
        kind: what a row is, and `wanted`, the same in words.
        episode: makes the episode of a row, given as what it is and as it stands.

    Raises:
        ValueError: a row that is none of these, or what `episode` raises, with file and row; or the log is there.
    """

    def episodes() -> Iterator[tuple[Header, Trajectory]]:
        for path in args.files:
            for where, content in rows_of(path):
                row = checked(content, kind, where, wanted)
                try:
                    made = episode(row, content)
                except ValueError as error:
                    raise ValueError(f"{where}: {error}") from error
                yield made

    return write_log(args.out, watched("imported", episodes(), None))


@dataclass
class Book:
    """Gives imported episodes their keys: a task's name, and a seed that counts its episodes."""

    header: Header
    tasks: dict[Any, str] = field(default_factory=dict)
    """names given so far, by what is the same for all episodes of a task"""
    played: Counter[str] = field(default_factory=Counter)

    def number(self, prefix: str, same: Any) -> str:
        """`prefix/000000` and so on, for a task that has no name of its own."""
        return self.tasks.setdefault(same, f"{prefix}/{len(self.tasks):06d}")

    def enter(
        self, task: str, steps: Sequence[Step], reward: float, end: End = End.TERMINATED, final: str = ""
    ) -> tuple[Header, Trajectory]:
        """An episode whose whole reward is its last step's."""
        seed = self.played[task]
        self.played[task] += 1
        own = (*steps[:-1], *(replace(step, reward=reward) for step in steps[-1:]))
        return self.header, Trajectory(self.header.env_id, task, seed, own, end, self.header.agent, final=final)


def book(env: str, agent: str) -> Book:
    """For a log of `env`, the short name or id of an environment, played by `agent`."""
    return Book(Header(envs.ENVIRONMENTS.get(env, env), agent))
