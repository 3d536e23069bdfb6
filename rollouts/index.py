"""Any episode of a log at once, by its number or its key, whatever the log's size.

    index = LogIndex("rollouts")
    index[123456], index.find("arithmetic-d2/train/000012", seed=3), len(index)

Beside each file of the log lies a small FILE.index with the place of every line. It is made when it is first asked for, gone on
with where the file has grown, made anew where the file is another, and can be deleted. Where it cannot be written, it is made in
memory.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

import msgspec
import numpy as np
from rich.progress import Progress

from rollouts.keys import digest
from rollouts.lines import line_at, whole_size
from rollouts.progress import bar_columns, console
from rollouts.trajectory import End, Header, LogError, Trajectory, decode_line, decoded, log_files, records

FORMAT, VERSION = "reasoning-rollouts-index", 1
EDGE = 4096
"""Bytes at the beginning and before the end of what is indexed that tell a file that has grown from another one."""


class _Stored(msgspec.Struct, frozen=True):
    """One file's index as it is stored; places and keys are arrays of little-endian 64-bit numbers."""

    format: str
    version: int
    size: int
    """of the file, in bytes, when it was read"""
    changed: int
    """when the file was changed last, in nanoseconds"""
    whole: int
    """the byte after the last whole line or frame"""
    edge: bytes
    """digest of the bytes before that one"""
    lines: int
    """how many there are, headers included"""
    headers: list[Header]
    places: bytes
    """start, skip and length of each episode's line, uint64 [N, 3]"""
    keys: bytes
    """the hash of each episode's task and seed, uint64 [N]"""
    errors: bytes
    """1 where the episode ended by an error, uint8 [N]"""


class LogIndex:
    """Random access to the episodes of a log, those that `rollouts.trajectory.read` gives, in their order.

    Raises:
        LogError: as `rollouts.trajectory.read`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.files = log_files(path)
        stored = [_indexed(file) for file in self.files]
        self.headers = [header for each in stored for header in each.headers]
        self._places = np.concatenate([np.frombuffer(each.places, "<u8").reshape(-1, 3) for each in stored])
        self._keys = np.concatenate([np.frombuffer(each.keys, "<u8") for each in stored])
        self._file = np.repeat(np.arange(len(stored)), [len(each.errors) for each in stored])
        kept = ~self._superseded(np.concatenate([np.frombuffer(each.errors, "u1") for each in stored]).astype(bool))
        self._kept = kept
        self._places, self._keys, self._file = self._places[kept], self._keys[kept], self._file[kept]
        self._order = np.argsort(self._keys, kind="stable")

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, number: int) -> Trajectory:
        """Episode `number`, counted from 0, or from the end where it is negative; one frame is read.

        Raises:
            IndexError: there is none.
            LogError: the file was changed since it was indexed.
        """
        if not -len(self) <= number < len(self):
            raise IndexError(f"{self.path} has {len(self)} episodes, there is no number {number}")
        file, (start, skip, length) = self.files[self._file[number]], self._places[number].tolist()
        episode = decode_line(line_at(file, start, skip, length), f"{file}, byte {start}")
        if not isinstance(episode, Trajectory) or digest(episode.task, episode.seed) != self._keys[number]:
            raise LogError(f"{file} was changed since it was indexed: open it again")
        return episode

    def __iter__(self) -> Iterator[Trajectory]:
        """In one pass over the files, so that no frame is read twice. Raises LogError as `__getitem__`."""
        numbers = iter(range(len(self)))
        episodes = (record for record in records(self.path) if isinstance(record, Trajectory))
        for kept, episode in zip(self._kept.tolist(), episodes, strict=False):  # the log may have grown since
            if kept and digest(episode.task, episode.seed) != self._keys[next(numbers)]:
                raise LogError(f"{self.path} was changed since it was indexed: open it again")
            if kept:
                yield episode

    def find(self, task: str, seed: int = 0) -> Trajectory | None:
        """The last episode of a key that did not end by an error, or else the last; or None."""
        key, failed = digest(task, seed), None
        low, high = (int(np.searchsorted(self._keys, np.uint64(key), side, sorter=self._order)) for side in ("left", "right"))
        for number in reversed(self._order[low:high].tolist()):
            episode = self[number]
            if (episode.task, episode.seed) != (task, seed):
                continue  # two keys may have one hash
            if episode.end is not End.ERROR:
                return episode
            failed = failed or episode
        return failed

    def _superseded(self, errors: np.ndarray) -> np.ndarray:
        """Which episodes ended by an error and were played again, bool [N]."""
        found = np.zeros_like(errors)
        if errors.any():
            last = {key: number for number, key in enumerate(self._keys.tolist())}
            for number in errors.nonzero()[0].tolist():
                found[number] = last[int(self._keys[number])] != number
        return found


def _indexed(file: Path) -> _Stored:
    """A file's index: the stored one where it fits, gone on with where the file has grown."""
    there, now = _load(_beside(file)), file.stat()
    if there and (there.size, there.changed) == (now.st_size, now.st_mtime_ns):
        return there
    if there and not (there.size < now.st_size and there.edge == _edge(file, there.whole)):
        there = None
    made = _make(file, now, there)
    aside = _beside(file, f".index.{os.getpid()}.part")
    with suppress(OSError):  # a folder that cannot be written to: the next one makes it again
        aside.write_bytes(msgspec.msgpack.encode(made))
        os.replace(aside, _beside(file))
    return made


def _make(file: Path, now: os.stat_result, there: _Stored | None) -> _Stored:
    """The index of a file, from where the one that is `there` ends."""
    there = there or _Stored(FORMAT, VERSION, 0, 0, 0, b"", 0, [], b"", b"", b"")
    places, keys, errors, headers = array("Q"), array("Q"), bytearray(there.errors), list(there.headers)
    count, whole = there.lines, whole_size(file)
    with Progress(*bar_columns("indexing", "bytes"), console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("indexing", total=whole)
        for line, record in decoded(file, there.whole, there.lines):
            if line.start >= whole:
                break  # the file grows while it is read
            count += 1
            if isinstance(record, Header):
                headers.append(record)
                continue
            places.extend((line.start, line.skip, len(line.text)))
            keys.append(digest(record.task, record.seed))
            errors.append(record.end is End.ERROR)
            if count % 1000 == 0:
                bar.update(task, completed=line.start)
    return _Stored(
        FORMAT,
        VERSION,
        now.st_size,
        now.st_mtime_ns,
        whole,
        _edge(file, whole),
        count,
        headers,
        there.places + _little(places),
        there.keys + _little(keys),
        bytes(errors),
    )


def _little(numbers: array[int]) -> bytes:
    return np.asarray(numbers, "<u8").tobytes()


def _edge(file: Path, end: int) -> bytes:
    """What tells a file that has grown from another one: its first bytes, and those before `end`."""
    with open(file, "rb") as source:
        found = source.read(min(end, EDGE))
        source.seek(max(0, end - EDGE))
        return blake2b(found + source.read(min(end, EDGE)), digest_size=16).digest()


def _load(path: Path) -> _Stored | None:
    """A stored index; None where there is none, or one of another version, which is made again."""
    try:
        found = msgspec.msgpack.decode(path.read_bytes(), type=_Stored)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    consistent = len(found.places) == 24 * len(found.errors) and len(found.keys) == 8 * len(found.errors)
    return found if (found.format, found.version) == (FORMAT, VERSION) and consistent else None


def _beside(file: Path, ending: str = ".index") -> Path:
    return file.with_name(file.name + ending)
