"""Which trees a log holds: one line a tree in a file beside the log, written after the tree's paths.

A tree may give no path, or several; so the log alone cannot say whether a task is done. Of a process that was killed, the paths
after the last tree in the journal are cut off, and that tree is grown again: it is written whole or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import TracebackType

import msgspec

from rollouts.trajectory import LogError, LogWriter, Trajectory, cut_tail, records


class TreeRecord(msgspec.Struct, frozen=True):
    """What became of one tree."""

    task: str
    nodes: int
    """the root included"""
    solved: int
    """ends that are solved: terminal nodes, and episodes played on from a node"""
    failed: int
    value: float
    """mean outcome of the ends, in the scale of z; 0 where there is none"""
    steps: int
    """steps sampled, those of rollouts too"""
    tokens: int
    """tokens sampled; 0 for an agent without tokens"""
    exhausted: bool
    """nothing was left to expand"""
    paths: int = 0
    """how many of its paths are in the log"""
    size: int = 0
    """bytes of the log after them"""
    rollouts: int = 0
    """how many of the ends are those of episodes played on from a node"""


class Journal:
    """The journal of a log that is open for writing; use it as a context manager.

    `records` are the trees that are done. What a killed process wrote of another is cut off from the log.

    Raises:
        LogError: log and journal do not belong together. Both are left as they are.
    """

    def __init__(self, log: LogWriter) -> None:
        self.log, self.path = log, journal_path(log.path)
        self.records: list[TreeRecord] = []
        if self.path.exists():
            self._resume()
        elif any(True for _ in self._episodes()):
            raise LogError(f"{log.path} has episodes, but no {self.path.name} beside it that names their trees: give another --out")
        self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115 (closed by __exit__)

    def append(self, record: TreeRecord, paths: list[Trajectory]) -> None:
        """Write a tree: its paths to the log, then its record. Raises LogError as `LogWriter.append`."""
        self.log.append(*paths)
        self.log.flush()
        record = msgspec.structs.replace(record, paths=len(paths), size=self.log.size)
        self._file.write(msgspec.json.encode(record) + b"\n")
        self.records.append(record)

    def _resume(self) -> None:
        lines = self.path.read_bytes().split(b"\n")[:-1]
        try:
            self.records = [msgspec.json.decode(line, type=TreeRecord) for line in lines]
        except msgspec.DecodeError as error:
            raise LogError(f"{self.path}: {error}") from error
        whole = self.records[-1].size if self.records else 0
        beyond = {t.task for t in islice(self._episodes(), sum(record.paths for record in self.records), None)}
        if self.log.size < whole or len(beyond) > 1 or beyond & {record.task for record in self.records}:
            raise LogError(f"{self.log.path} is not as {self.path.name} says: move both away, or give another --out")
        cut_tail(self.path)
        if beyond:
            self.log.rewind(whole)

    def _episodes(self) -> Iterator[Trajectory]:
        return (record for record in records(self.log.path) if isinstance(record, Trajectory))

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()


def journal_path(log: Path) -> Path:
    """`tree.jsonl`, `tree.jsonl.zst`, the folder `tree` -> `tree.trees.jsonl`."""
    return log.with_name(log.name.removesuffix(".zst")).with_suffix(".trees.jsonl")
