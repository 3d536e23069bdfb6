"""A log that stays on disk: what `rollouts.trajectory.read` gives, read anew by every pass, in constant memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.progress import Progress

from rollouts.progress import bar_columns, console
from rollouts.trajectory import End, Header, Trajectory, decoded, log_files, records


@dataclass(frozen=True)
class Episodes:
    """The episodes of a log, in its order. Of one that ended by an error and was played again, the later line speaks."""

    path: Path
    count: int
    """lines"""
    superseded: frozenset[int]
    """the lines that a later one of the same episode speaks for"""

    def __len__(self) -> int:
        return self.count - len(self.superseded)

    def __iter__(self) -> Iterator[Trajectory]:
        episodes = (record for record in records(self.path) if isinstance(record, Trajectory))
        for number, episode in zip(range(self.count), episodes, strict=False):  # it may have grown since
            if number not in self.superseded:
                yield episode


@dataclass(frozen=True)
class StoredLog:
    """A log on disk; `rollouts.trajectory.Log` is one in memory."""

    headers: list[Header]
    trajectories: Episodes


def survey(path: str | Path) -> StoredLog:
    """Read a log once, validating every line, and keep no episode of it. Shows a bar while it reads.

    Raises:
        LogError: as `rollouts.trajectory.read`.
    """
    path, headers, superseded, count = Path(path), list[Header](), set[int](), 0
    failed: dict[tuple[str, int], int] = {}
    files = log_files(path)
    with Progress(*bar_columns("reading", "bytes"), console=console, transient=True, disable=not console.is_terminal) as bar:
        task, before = bar.add_task("reading", total=sum(file.stat().st_size for file in files)), 0
        for file in files:
            for line, record in decoded(file):
                if isinstance(record, Header):
                    headers.append(record)
                    continue
                key = record.task, record.seed
                if failed and key in failed:
                    superseded.add(failed.pop(key))
                if record.end is End.ERROR:
                    failed[key] = count
                count += 1
                if count % 1000 == 0:
                    bar.update(task, completed=before + line.start)
            before += file.stat().st_size
    return StoredLog(headers, Episodes(path, count, frozenset(superseded)))
