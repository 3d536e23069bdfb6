"""Lines of files that only grow, streamed: plain, in zstd frames, or in a folder of shards (`rollouts/line_writer.py` writes them).

    x.jsonl       lines
    x.jsonl.zst   zstd frames of whole lines
    FOLDER        part-00000.jsonl.zst, part-00001.jsonl.zst, ...

What is there is read by its first bytes, whatever its name.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import zstandard

CHUNK = 64 << 10
LARGEST_TAIL = 1 << 24
"""More than a frame that is written here, in bytes."""
MAGIC = zstandard.FRAME_HEADER
PART = re.compile(r"part-(\d{5,})\.jsonl(?:\.zst)?")


class LogError(ValueError):
    """A log that cannot be read, with file, line and field."""


class Line(NamedTuple):
    """A whole line and its place, from which `line_at` reads it again."""

    start: int
    """the byte of the file at which it begins; in a compressed file, that at which the frame of its first byte begins"""
    skip: int
    """bytes of the frame's text before it; 0 in a plain file"""
    text: bytes
    """with its line break"""


def parts(path: Path) -> list[Path]:
    """The files of a log, in order: itself, or a folder's shards; none where there is no log.

    Raises:
        LogError: a shard is there twice, plain and compressed.
    """
    if not path.is_dir():
        return [path] if path.is_file() else []
    found: dict[int, Path] = {}
    for file in sorted(path.iterdir()):
        if named := PART.fullmatch(file.name):
            other = found.setdefault(int(named[1]), file)
            if other is not file:
                raise LogError(f"{path} has both {other.name} and {file.name}, the same shard twice: move one of them away")
    return [found[number] for number in sorted(found)]


def is_log(name: str | Path) -> bool:
    """Whether a name is a log's: .jsonl, .jsonl.zst, or a folder of shards."""
    return str(name).endswith((".jsonl", ".jsonl.zst")) or (Path(name).is_dir() and bool(parts(Path(name))))


def lines(path: Path, start: int = 0) -> Iterator[Line]:
    """The whole lines of one file, from a line (or, in a compressed file, a frame) that begins at byte `start`.

    What is unfinished at the end is left out, with a warning.

    Raises:
        LogError: a damaged frame.
    """
    with open(path, "rb") as file:
        yield from (_frame_lines if compressed(path) else _plain_lines)(file, start)


def line_at(path: Path, start: int, skip: int, length: int) -> bytes:
    """One line of a file by its place and length.

    Raises:
        LogError: a damaged frame.
    """
    with open(path, "rb") as file:
        file.seek(start)
        if not compressed(path):
            return file.read(length)
        try:
            with zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) as reader:
                return reader.read(skip + length)[skip:]
        except zstandard.ZstdError as error:
            raise _damaged(file, start, error) from error


def cut_tail(path: Path) -> int:
    """Cut off what follows the last whole line, or the last whole frame; returns how many bytes that were.

    Raises:
        LogError: a damaged frame, or one that ends within a line, which no writer here leaves.
    """
    size, end = path.stat().st_size, whole_size(path)
    if end and compressed(path):
        with open(path, "rb") as file:
            *_, (frame, _) = _frames(file)
            last = b"".join(text[-1:] for text in _texts(file, frame, end))[-1:]
        if last != b"\n":
            raise LogError(f"{path}: the last frame ends within a line; python -m rollouts.pack writes its whole lines anew")
    os.truncate(path, end)
    return size - end


def whole_size(path: Path) -> int:
    """How many bytes of a file are whole lines, or whole frames. Raises LogError for a damaged frame."""
    with open(path, "rb") as file:
        return max((end for _, end in _frames(file)), default=0) if compressed(path) else _end_of_lines(file)


def _plain_lines(file: BinaryIO, start: int) -> Iterator[Line]:
    file.seek(start)
    for number, text in enumerate(file, 1):
        if not text.endswith(b"\n"):
            counted = f":{number}" if start == 0 else ""
            warnings.warn(f"{file.name}{counted}: unfinished last line left out (the writer was stopped)", stacklevel=3)
            return
        yield Line(start, 0, text)
        start += len(text)


def _frame_lines(file: BinaryIO, start: int) -> Iterator[Line]:
    end, rest, begun = start, b"", (start, 0)
    for frame, end in _frames(file, start):
        passed = 0
        for chunk in _texts(file, frame, end):
            if not rest:
                begun = frame, passed
            after = passed - len(rest)
            *whole, rest = (rest + chunk).split(b"\n")
            for text in whole:
                yield Line(*begun, text + b"\n")
                after += len(text) + 1
                begun = frame, after
            passed += len(chunk)
    lost = file.seek(0, os.SEEK_END) - end
    if lost or rest:
        what = f"unfinished last frame of {lost} bytes" if lost else "unfinished last line"
        warnings.warn(f"{file.name}: {what} left out (the writer was stopped)", stacklevel=3)


def _frames(file: BinaryIO, start: int = 0) -> Iterator[tuple[int, int]]:
    """Where each whole frame begins and ends.

    Raises:
        LogError: a damaged frame, such as an unfinished one with others behind it, which are not to be cut off with it.
    """
    size = file.seek(0, os.SEEK_END)
    while start < size:
        end = _frame_end(file, start)
        if end is None or end > size:
            file.seek(start + 1)
            if MAGIC in file.read(LARGEST_TAIL):
                raise _damaged(file, start, "another one begins within it")
            return
        yield start, end
        start = end


def _frame_end(file: BinaryIO, start: int) -> int | None:
    """The byte after the frame that begins at `start`, by the sizes of its blocks (RFC 8878, 3.1.1); None where it is cut short."""
    file.seek(start)
    head = file.read(18)  # the longest header
    if not head.startswith(MAGIC[: len(head)]):
        raise LogError(f"{file.name}: expected a zstd frame at byte {start}, got {head[:4]!r}")
    try:
        place, summed = start + zstandard.frame_header_size(head), zstandard.get_frame_parameters(head).has_checksum
    except zstandard.ZstdError as error:
        if len(head) < 18:
            return None
        raise _damaged(file, start, error) from error
    last = False
    while not last:
        file.seek(place)
        block = file.read(3)
        if len(block) < 3:
            return None
        word = int.from_bytes(block, "little")
        last, repeated = bool(word & 1), word >> 1 & 3 == 1
        place += 3 + (1 if repeated else word >> 3)
    return place + 4 * summed


def _texts(file: BinaryIO, frame: int, end: int) -> Iterator[bytes]:
    """The text of a frame, in chunks."""
    file.seek(frame)
    unpacked, left = zstandard.ZstdDecompressor().decompressobj(), end - frame
    try:
        while left:
            packed = file.read(min(left, CHUNK))
            left = left - len(packed) if packed else 0  # it was cut off meanwhile
            yield unpacked.decompress(packed)
    except zstandard.ZstdError as error:
        raise _damaged(file, frame, error) from error


def _damaged(file: BinaryIO, start: int, error: object) -> LogError:
    return LogError(
        f"{file.name}: the zstd frame at byte {start} is damaged ({error}): take the file from where it came from again"
    )


def _end_of_lines(file: BinaryIO) -> int:
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - 65536)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def compressed(path: Path) -> bool:
    """Whether a file is in frames: by its first bytes, or its name where there are too few."""
    with open(path, "rb") as file:
        head = file.read(len(MAGIC))
    return head == MAGIC if len(head) == len(MAGIC) else path.name.endswith(".zst")
