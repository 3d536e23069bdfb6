"""What all formats share: output that is whole or not there, logs read and written one episode after the other, a bar meanwhile."""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from rich.progress import Progress

from rollouts.lines import lines
from rollouts.progress import bar_columns, console
from rollouts.trajectory import Header, LogError, Trajectory, fault_of, log_files, records

T = TypeVar("T")


def need(module: str, extra: str) -> Any:
    """Import an optional package. Raises ValueError with the extra that brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ValueError(
            f"this format needs the package {package} ({error}): pip install 'reasoning-gym-offline[{extra}]'"
        ) from error


@contextmanager
def whole(out: Path) -> Iterator[Path]:
    """A place beside `out`, a file's or a folder's, that is renamed to it at the end and removed where anything goes wrong.

    Raises:
        ValueError: `out` is there already.
    """
    if out.exists():
        raise ValueError(f"{out} is there already, so it is left alone: give another --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = out.with_name(out.name + ".part")
    _remove(aside)  # of a process that was killed
    try:
        yield aside
        os.replace(aside, out)
    except BaseException:
        _remove(aside)
        raise


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def watched(what: str, items: Iterable[T], total: int | None) -> Iterator[T]:
    """The items, with a progress bar."""
    with Progress(*bar_columns(what, ""), console=console) as bar:
        task = bar.add_task(what, total=total)
        for item in items:
            yield item
            bar.advance(task)
        bar.update(task, total=bar.tasks[task].completed)


def logged(path: Path, what: str) -> Iterator[tuple[Header, Trajectory]]:
    """The episodes of a log as they stand, each with the header that speaks for it. Shows a bar.

    Raises:
        LogError: as `rollouts.trajectory.read`, or there is no episode.
    """
    header, any_episode = None, False
    for record in watched(what, records(path), sum(1 for file in log_files(path) for _ in lines(file))):
        if isinstance(record, Header):
            header = record
        else:
            assert header is not None  # `records` begins with one
            any_episode = True
            yield header, record
    if not any_episode:
        raise LogError(f"{path} has no episode: there is nothing to export")


@dataclass
class Count:
    """What was written."""

    episodes: int = 0
    steps: int = 0
    solved: int = 0

    def add(self, trajectory: Trajectory) -> None:
        """Count an episode."""
        self.episodes += 1
        self.steps += len(trajectory.steps)
        self.solved += trajectory.success

    def __str__(self) -> str:
        return f"{self.episodes} episodes, {self.steps} steps, {self.solved} solved"


def write_log(out: Path, episodes: Iterable[tuple[Header, Trajectory]]) -> Count:
    """Write a log, whole or not at all; a header stands before the first of the episodes that it speaks for.

    Raises:
        ValueError: `out` is there already, there is no episode, or what `episodes` raises.
        LogError: a number that is not finite, or log-probabilities that do not match the tokens.
    """
    count, last = Count(), None
    with whole(out) as aside, open(aside, "wb") as file:
        for header, trajectory in episodes:
            if fault := fault_of(trajectory):
                raise LogError(f"{trajectory.task}, seed {trajectory.seed}: {fault}")
            if header != last:
                file.write(header.encode())
                last = header
            file.write(msgspec.json.encode(trajectory) + b"\n")
            count.add(trajectory)
        if not count.episodes:
            raise ValueError(f"there is no episode, so {out} is not written")
        file.flush()
        os.fsync(file.fileno())
    return count
