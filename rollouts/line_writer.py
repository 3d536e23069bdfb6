"""Appends lines to a log so that a killed process loses little: plain, in zstd frames, or in a folder of shards.

    x.jsonl       lines, written as they come
    x.jsonl.zst   zstd frames of whole lines, a frame for so much text
    FOLDER        part-00000.jsonl.zst, part-00001.jsonl.zst, ...: a new one where the last has grown large

What is new is written by its name (one without an ending is a folder's), what is there is gone on with as it is. A frame is written
at once, so a process that is killed loses at most the frame that it had not written yet.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import zstandard

from rollouts.lines import PART, LogError, compressed, parts

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

FRAME_TEXT = 256 << 10
"""Bytes of text that make a frame: less packs worse, and more is lost with a killed process."""
FRAME_SECONDS = 5.0
"""A line that comes so long after the last frame ends one, whatever its size: slow episodes are not kept waiting."""
SHARD = 64 << 20
"""Bytes of a shard after which the next is begun."""


class LineWriter:
    """Appends lines to one log, in the form of its name or of what is there; creates it where there is none.

    Args:
        path: the log.
        head: the line that each part begins with.
        shard: bytes after which a folder's next part is begun.

    Raises:
        LogError: another process is writing it, or it is a folder of something else.
    """

    def __init__(self, path: Path, head: bytes = b"", shard: int = SHARD) -> None:
        self.path, self.head, self.shard = path, head, shard
        self.folder = path.is_dir() or not (path.exists() or path.suffix)
        if self.folder:
            self._claim()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
        first = [*parts(path), path / "part-00000.jsonl.zst" if self.folder else path][0]
        self._guard = self._file = open(first, "ab", buffering=0)  # noqa: SIM115 (closed by close)
        self._waiting = bytearray()
        self._compressor = zstandard.ZstdCompressor(write_checksum=True)
        self._flushed = time.monotonic()
        try:
            _lock(self._guard)
            self.parts = parts(path)
            self._open()
        except BaseException:
            self._guard.close()
            raise

    @property
    def size(self) -> int:
        """Bytes written, of all parts."""
        return sum(part.stat().st_size for part in self.parts)

    def starts_with_head(self) -> bool:
        """Whether nothing is there but the head's line, or a beginning of it."""
        head = self._encode(self.head)
        return len(self.parts) == 1 and self.size <= len(head) and head.startswith(self.parts[0].read_bytes())

    def begin(self) -> None:
        """Write the head where the last part is empty."""
        if not self.parts[-1].stat().st_size:
            self._file.write(self._encode(self.head))

    def follow(self, head: bytes) -> None:
        """Write the head of the lines to come, where it is another than that of the lines before."""
        if head == self.head:
            return
        self.head = head
        if self.size or self._waiting:
            self.write(head)
        else:
            self.begin()

    def write(self, text: bytes) -> None:
        """Append whole lines; those of a compressed log may wait for more."""
        if self._framed:
            self._waiting += text
            if len(self._waiting) >= FRAME_TEXT or time.monotonic() - self._flushed >= FRAME_SECONDS:
                self.flush()
        else:
            self._file.write(text)
            self._turn()

    def flush(self) -> None:
        """Write what waits."""
        if self._waiting:
            text, self._waiting = bytes(self._waiting), bytearray()  # before: interrupted in between, nothing is written twice
            self._file.write(self._encode(text))
            self._turn()
        self._flushed = time.monotonic()

    def cut(self, size: int) -> None:
        """Cut off all but the first `size` bytes."""
        self._waiting.clear()
        sizes = [part.stat().st_size for part in self.parts]
        for number in reversed(range(len(self.parts))):
            kept = max(0, size - sum(sizes[:number]))
            if kept < sizes[number]:
                os.truncate(self.parts[number], kept)
            if not kept and number:
                self.parts.pop().unlink()
        self._open()

    def close(self) -> None:
        """Write what waits, and let other writers in."""
        try:
            self.flush()
            os.fsync(self._file.fileno())
        finally:
            self._file.close()
            self._guard.close()

    def __enter__(self) -> LineWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _claim(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        if any(self.path.iterdir()) and not parts(self.path):
            raise LogError(f"{self.path} is a folder of other things, without a part-00000.jsonl.zst: give another --out")

    def _open(self) -> None:
        if self._file is not self._guard:
            self._file.close()
        last = self.parts[-1]
        self._file = self._guard if last == self.parts[0] else open(last, "ab", buffering=0)  # noqa: SIM115
        self._framed = compressed(last)

    def _turn(self) -> None:
        """Begin the next part where this one is large."""
        if not self.folder or self._file.tell() < self.shard:
            return
        os.fsync(self._file.fileno())
        named = PART.fullmatch(self.parts[-1].name)
        assert named is not None
        self.parts.append(self.path / f"part-{int(named[1]) + 1:05d}.jsonl.zst")
        self.parts[-1].touch()
        self._open()
        self.begin()

    def _encode(self, text: bytes) -> bytes:
        return self._compressor.compress(text) if self._framed else text


@contextmanager
def written_aside(path: Path, shard: int = SHARD) -> Iterator[LineWriter]:
    """A writer of a log that takes the place of what is there when all is written, or not at all; `follow` begins it."""
    aside = path.with_name(f"unfinished-{path.name}")
    _remove(aside)
    try:
        with LineWriter(aside, shard=shard) as writer:
            yield writer
        if path.is_dir() or aside.is_dir():
            _remove(path)  # a folder cannot be replaced
        os.replace(aside, path)
    except BaseException:
        _remove(aside)
        raise


def _remove(path: Path) -> None:
    """Remove a log. Raises OSError where its folder holds something else, too."""
    if not path.is_dir():
        path.unlink(missing_ok=True)
        return
    for file in path.iterdir():
        if PART.match(file.name):  # the shards, and the indexes beside them
            file.unlink()
    path.rmdir()


def _lock(file: BinaryIO) -> None:
    """Keep other writers out until the file is closed. Two processes would each play all episodes, and the log hold them twice."""
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise LogError(f"{file.name} is being written by another process: wait until it is done, or give another --out") from None
    except OSError:
        pass  # some network file systems have no locks
